"""The scripts in examples/, run as a user runs them."""

import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dmlp_jax.storage import files

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, cwd, status=0):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def percent(pattern, text):
    """The one percentage that the pattern finds, in [0, 100]."""
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return float(found)


@pytest.fixture
def image_folder():
    spec = importlib.util.spec_from_file_location("image_folder", EXAMPLES / "image_folder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_here():
    tested = set(re.findall(r"run\(\"(\w+\.py)\"", Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.slow
def test_digits(tmp_path):
    text = run("digits.py", cwd=tmp_path)
    wrong = percent(r"^1297 labels, ([\d.]+)% of them wrong$", text)
    assert 68 < wrong < 76
    held_out, right = re.search(r"^purified +([\d.]+)% +([\d.]+)%$", text, re.MULTILINE).groups()
    assert float(right) > 88
    assert float(held_out) > 75
    for probe in ("val_only_probe", "noisy_probe", "noisy_plus_val_probe"):
        assert percent(rf"^{probe} +[\d.]+% +([\d.]+)%$", text) < float(right)
    assert percent(r"is right on ([\d.]+)%", text) > 85
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_text_embeddings(tmp_path):
    text = run("text_embeddings.py", cwd=tmp_path)
    wrong = percent(r"^\d+ texts, ([\d.]+)% of the labels wrong", text)
    assert 28 < wrong < 38
    assert percent(r"^right after purification: ([\d.]+)%$", text) > 90
    assert percent(r"labels changed; ([\d.]+)% of these were wrong", text) > 85
    assert "nan" not in text
    assert re.search(r"^  given +-$", text, re.MULTILINE)
    # Five suspects, each with another label than the given one.
    suspects = re.findall(r"^  (\w+) -> (\w+) +\S+: ", text, re.MULTILINE)
    assert len(suspects) == 5
    assert all(given != purified for given, purified in suspects)


@pytest.mark.slow
def test_image_folder(tmp_path):
    text = run("image_folder.py", "--folder", "f", cwd=tmp_path)
    folder = tmp_path / "f"
    found = re.search(
        r"1747 images, (\d+) of them .* (\d+) reported .*:\n(\d+) of these are in a wrong folder", text
    )
    wrong, named, right = map(int, found.groups())
    assert 420 < wrong < 520  # 27 % of 1,747
    assert right > 0.9 * wrong
    assert right > 0.9 * named
    with open(folder / "purified" / "issues.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["is_label_issue"] == "True" for row in rows) == named
    stored = files.load_npz(folder / "purified" / "purified.npz")
    assert stored["changed"].sum() == named
    assert stored["class_names"].tolist() == sorted(path.name for path in (folder / "train").iterdir())
    summary = json.loads((folder / "purified" / "summary.json").read_text())
    assert summary["rows"] == {"train": 1747, "val": 50, "test": 0}
    # The images of all rows are in the page, and those of the clean rows near to them.
    page = (folder / "purified" / "report.html").read_text()
    pictures = page.partition('id="review-pictures">')[2].partition("</script>")[0].split("\n")
    assert 1747 <= sum(map(bool, pictures)) <= 1747 + 50
    # The command that it prints is one that a user can type; this time the results are in the way.
    command = next(line for line in text.splitlines() if line.startswith("dmlp-purify "))
    again = [sys.executable, "-m", "dmlp_jax.cli", *command.split()[1:]]
    done = subprocess.run(again, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert "is not empty" in run("image_folder.py", "--folder", "f", cwd=tmp_path, status=2)


def test_images_lie_in_wrong_folders_as_often_as_asked(image_folder, tmp_path):
    truth = image_folder.write_images(tmp_path, 0.3, 2, 0)
    train, val = sorted(tmp_path.glob("train/*/*.png")), sorted(tmp_path.glob("val/*/*.png"))
    assert len(train) + len(val) == 1797 == len(truth)
    assert all(path.parent.name == truth[path.name] for path in val)
    assert {path.parent.name for path in val} == set(image_folder.NAMES)
    # A tenth of those drawn at random lie right by chance.
    assert np.mean([path.parent.name != truth[path.name] for path in train]) == pytest.approx(0.27, abs=0.03)
