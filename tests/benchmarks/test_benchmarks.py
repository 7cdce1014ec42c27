"""Every benchmark in its smallest form: that it runs and writes its table."""

import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PRETRAIN = "pretrain.py --image-size=8 --dtype=float32 --repeats=1 --epochs=1 --no-torch"
CALLS = [
    "annotators.py . --sets=digits --seeds=1 --name=x",
    "busy_machine.py --cases=300x8 --repeats=1 --name=x",
    "image_embeddings.py --cifar=cifar.npz --count=60 --epochs=1 --out=benchmarks/results/x.md",
    "accept.py --cases=border --clean=50 --seeds=1 --name=x",
    "clean_set_size.py --features=features.npz --sizes=2,5 --noises=sym50 --seeds=1 --name=x",
    "coupled_digits.py --seeds=1 --methods=l2r --quick --name=x",
    "digits_demo.py --seeds=1 --labels-only --quick --name=x",
    "human_noise.py --cases=border,digits-8 --clean=50 --seeds=1 --methods=given,cleanlab,purify_picked "
    "--out=benchmarks/results/x.md",
    "human_noise_data.py --cases=border --clean=50 --name=x",
    "no_clean_set.py --features=features.npz --noises=sym50 --splits=0 --clean=50 --rows=300 --no-cleanlab "
    "--name=x",
    "plan.py --rows=1e6 --sizes=500,2000 --width=16 --name=x",
    f"{PRETRAIN} --batch-size=4 --rows=8 --name=x",
    f"{PRETRAIN} --batch-size=16 --rows=16 --model=small_cnn --name=x --method=moco",
    "purify_ablation.py --features=features.npz --noises=sym50 --splits=0 --clean-sizes=50 --name=x",
    "purify_accuracy.py --features=features.npz --noises=sym50 --splits=0 --clean-sizes=50 --paper --name=x "
    "--clean-set=random",
    "purify_scale.py --cases=300x8 --clean=50 --name=x",
    "purify_speed.py --rows=2000 --width=16 --clean=50 --repeats=1 --peer-epochs=1 --name=x",
    "reliability.py --stages=pretrain --trials=2 --minutes=1 --name=x",
    "report_size.py --rows=200 --repeats=1 --name=x",
    "retrain.py --rows=128 --epochs=1 --methods=naive,dividemix --name=x",
    "label_forms.py --features=features.npz --rows=200 --val=50 --seeds=1 --rates=0.5 --methods=dividemix "
    "--epochs=12 --accept=0.5 --name=x",
    "retrain_boost.py --features=features.npz --rows=200 --val=50 --seeds=1 --rates=0.5 --methods=naive,ieg "
    "--epochs=3 --name=x",
    "review_effort.py --rows=36 --page=12 --seeds=1 --name=x",
    "startup.py --cases=300x8,290x8 --repeats=1 --name=x",
    "row_search.py --cases=500x8 --out=benchmarks/results/x.md",
    "front_door_effort.py --kinds=table --repeats=1 --out=benchmarks/results/x.md",
    "suggest.py --cases=digits-20 --seeds=1 --rows=500 --methods=suggestion,ActiveLab "
    "--out=benchmarks/results/x.md",
]
# What makes features has no table; front_door.py reads labels that people gave from files; semi_digits.py has
# no form of less than minutes; real_mistakes.py has a test of its own below; compare_checkouts.py needs two
# checkouts; the others are modules.
WITHOUT = {
    "accuracy_peers", "bad_input", "boost_tasks", "common", "compare_checkouts", "digits_features", "flops",
    "front_door", "kill_at_write", "human_noise_methods", "human_noise_probes", "human_noise_sets",
    "human_noise_tables",
    "package_features", "package_tags", "pages", "patch_features", "peers", "pretrain_parts",
    "real_mistakes", "report_pages", "semi_digits", "simulated_annotators", "small_images", "suggest_tables",
    "tasks", "torch_simclr",
}  # fmt: skip


def test_no_benchmark_is_forgotten():
    named = {call.split(".py")[0] for call in CALLS}
    assert named | WITHOUT == {path.stem for path in BENCHMARKS.glob("*.py")}
    assert not named & WITHOUT


def run(folder, call):
    script, *options = call.split()
    command = [sys.executable, f"benchmarks/{script}", *options]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The scripts, so that no result of the repository is written over, beside features they made."""
    root = tmp_path_factory.mktemp("benchmarks")
    shutil.copytree(BENCHMARKS, root / "benchmarks", ignore=shutil.ignore_patterns("*.md", "__pycache__"))
    rng = np.random.default_rng(0)
    arrays = {}
    for split, rows in (("train", 600), ("test", 100)):
        labels = rng.integers(10, size=rows)
        noise = rng.integers(0, 128, (rows, 32, 32, 3))
        arrays[f"x_{split}"] = (noise + 12 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"y_{split}"] = labels
    np.savez(root / "cifar.npz", **arrays)
    run(root, "patch_features.py --cifar=cifar.npz --out=features.npz --centroids=20 --components=16")
    return root


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("call", CALLS, ids=lambda call: re.sub(r"\.py.*?(--method=moco)?$", r"\1", call))
def test_it_writes_its_table(folder, call):
    result = folder / "benchmarks" / "results" / "x.md"
    result.unlink(missing_ok=True)
    run(folder, call)
    text = result.read_text()
    assert re.search(r"^\| [^-]+ \|.*\d", text, re.MULTILINE)
    assert f"python benchmarks/{call}"[:40] in text
    assert "nan" not in text


@pytest.mark.slow
def test_mistakes_in_sections_of_packages(folder):
    rng = np.random.default_rng(0)
    words = {"games": ["play", "levels", "score"], "admin": ["disk", "daemon", "users"], "rare": ["odd"]}
    packages, sources = "", "Package: source\nPackage-List: \n"
    for section, count in (("games", 40), ("admin", 40), ("rare", 3)):
        for i in range(count):
            said = " ".join(rng.choice(words[section], 3))
            packages += f"Package: {section[0]}{i}\nDepends: libc6 (>= 2), lib{section}:any | x\n"
            packages += f"Description: {said}\n of more lines\nSection: {section}\n\n"
            sources += (
                f" {section[0]}{i} deb {'contrib/admin' if i % 10 == 9 else section} optional arch=any\n"
            )
    packages += "Package: bare\nDescription: has no section\n\nPackage: g99\nDescription: x\nSection: games\n"
    for path, text in (("binary-amd64/Packages.xz", packages), ("source/Sources.xz", sources)):
        (folder / path).parent.mkdir()
        (folder / path).write_bytes(lzma.compress(text.encode()))
    run(folder, "package_features.py --archive=. --out=p.npz --components=4 --smallest=10")
    with np.load(folder / "p.npz") as found:
        assert list(found["names"]) == ["admin", "games"]
        assert list(found["train_labels"]) == [1] * 40 + [0] * 40
        assert list(np.flatnonzero(found["given_labels"] != found["train_labels"])) == [9, 19, 29, 39]
        assert found["train"].shape == (80, 4)
    run(folder, "real_mistakes.py --features=p.npz --clean=20 --splits=0 --no-cleanlab --name=x")
    table = (folder / "benchmarks" / "results" / "x.md").read_text()
    # The probe mends every mistake, all of one kind, and spoils nothing; the ranking has them first.
    cells = r"100\.0 \| \d\.\d \| 0\.0 \| 100\.0 \| 100\.0 \| - \|"
    assert re.search(rf"^\| noisy probe \| {cells}.* 1 of 1 \|$", table, re.MULTILINE)
    assert re.search(r"^\| purified \|.* \| 100\.0 \| \d\.\d \| 0\.0 \| 1 of 1 \|$", table, re.MULTILINE)
