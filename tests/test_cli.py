import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dmlp_jax import cli, files, purified_files
from tests.conftest import accuracy, make_blobs

FEATURES, GIVEN, (VAL_FEATURES, VAL_LABELS), TRUE = make_blobs(0)
NAMES = np.array(["ant", "bee", "cat"])
FILES = sorted(purified_files.NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as users have them."""
    root = tmp_path_factory.mktemp("files")
    np.save(root / "f.npy", FEATURES)
    np.save(root / "y.npy", GIVEN)
    np.save(root / "v.npy", VAL_FEATURES)
    np.save(root / "w.npy", VAL_LABELS)
    np.savez(
        root / "e.npz",
        features=FEATURES,
        labels=GIVEN,
        val_features=VAL_FEATURES,
        val_labels=VAL_LABELS,
        true_labels=TRUE,
        class_names=NAMES,
    )
    (root / "names.txt").write_text("\n".join(NAMES[GIVEN]) + "\n")
    (root / "true.txt").write_text("\n".join(NAMES[TRUE]) + "\n")
    # Three rows of each class, far from in order.
    clean = np.concatenate([np.flatnonzero(label == TRUE)[-20:] for label in range(3)])[::-1]
    (root / "clean.txt").write_text("\n".join(map(str, clean)) + "\n")
    (root / "clean_true.txt").write_text("\n".join(NAMES[TRUE[clean]]) + "\n")
    return root


def basic(folder):
    return [
        *map(str, (folder / "f.npy", folder / "y.npy")),
        *("--val-features", str(folder / "v.npy"), "--val-labels", str(folder / "w.npy")),
    ]


def read_issues(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(folder):
    """One run on .npy files."""
    out = folder / "out"
    assert cli.main([*basic(folder), "--out", str(out)]) == 0
    return out


def test_leaves_four_files_and_nothing_else(done):
    assert sorted(os.listdir(done)) == FILES


def test_labels_are_repaired(done):
    stored = files.load_npz(done / "purified.npz")
    assert sorted(stored) == ["changed", "class_names", "confidence", "index", "labels", "probs"]
    assert accuracy(stored["labels"], TRUE) > accuracy(GIVEN, TRUE) + 0.2
    np.testing.assert_array_equal(stored["changed"], stored["labels"] != GIVEN)
    np.testing.assert_array_equal(stored["index"], np.arange(300))
    assert stored["class_names"].tolist() == ["0", "1", "2"]


def test_issues_are_sorted_and_agree_with_the_labels(done):
    rows, stored = read_issues(done / "issues.csv"), files.load_npz(done / "purified.npz")
    assert len(rows) == 300
    scores = [float(row["label_score"]) for row in rows]
    assert scores == sorted(scores)
    for row in rows:
        index = int(row["index"])
        assert row["given_label"] == str(GIVEN[index])
        assert row["predicted_label"] == str(stored["labels"][index])
        assert row["is_label_issue"] == str(stored["changed"][index])
    # The rows to look at first are the wrong ones.
    assert np.mean([GIVEN[int(row["index"])] != TRUE[int(row["index"])] for row in rows[:30]]) > 0.95


def test_summary_and_report_tell_the_same(done):
    contents = json.loads((done / "summary.json").read_text())
    page = (done / "report.html").read_text()
    assert contents["rows"] == {"train": 300, "val": 30, "test": 0}
    assert contents["arguments"]["seed"] == 0
    assert contents["labels"]["purified"] is None
    assert contents["held_out"]["purified"] > 0.8
    assert contents["noise"]["estimated_flip_rate"] == pytest.approx(np.mean(GIVEN != TRUE), abs=0.06)
    assert f"{100 * contents['held_out']['purified']:.1f} %" in page
    assert page.count("<svg") == 7
    assert "Reliability, held-out clean rows" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "f.npy" in page


def test_the_same_seed_gives_the_same_files(folder, done, tmp_path):
    assert cli.main([*basic(folder), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "issues.csv").read_bytes() == (done / "issues.csv").read_bytes()
    assert (tmp_path / "purified.npz").read_bytes() == (done / "purified.npz").read_bytes()


def test_without_clean_rows_some_are_drawn(folder, tmp_path, capsys):
    arguments = [str(folder / "e.npz"), "--draw-clean", "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "holds val_features" in capsys.readouterr().err
    arguments = [str(folder / "f.npy"), str(folder / "y.npy"), *arguments[1:]]
    assert cli.main(arguments) == 0
    stored = files.load_npz(tmp_path / "purified.npz")
    drawn = np.setdiff1d(np.arange(300), stored["index"])
    np.testing.assert_allclose(np.bincount(GIVEN[drawn]), 0.2 * np.bincount(GIVEN), atol=0.5)
    assert accuracy(stored["labels"], TRUE[stored["index"]]) > accuracy(GIVEN, TRUE) + 0.2
    contents = json.loads((tmp_path / "summary.json").read_text())
    assert contents["drawn"]["noise_rate"] == pytest.approx(0.5, abs=0.15)
    assert contents["rows"]["val"] == len(drawn)
    for text in (capsys.readouterr().out, (tmp_path / "report.html").read_text()):
        assert "Nobody vouches for the clean rows" in text
    assert cli.main([*arguments, "--overwrite", "--seed", "1"]) == 0
    assert len(np.setdiff1d(files.load_npz(tmp_path / "purified.npz")["index"], stored["index"]))


def test_npz_with_names_and_truth(folder, done, tmp_path, capsys):
    assert cli.main([str(folder / "e.npz"), "--out", str(tmp_path)]) == 0
    stored, plain = (files.load_npz(out / "purified.npz") for out in (tmp_path, done))
    np.testing.assert_array_equal(stored["probs"], plain["probs"])
    assert stored["class_names"].tolist() == NAMES.tolist()
    assert read_issues(tmp_path / "issues.csv")[0]["given_label"] in NAMES
    contents = json.loads((tmp_path / "summary.json").read_text())
    assert contents["labels"]["purified"] == pytest.approx(accuracy(stored["labels"], TRUE))
    assert contents["noise"]["measured_flip_rate"] == pytest.approx(np.mean(GIVEN != TRUE))
    out = capsys.readouterr().out
    assert "3 classes: ant, bee, cat" in out
    assert f"{contents['labels']['purified']:.1%}" in out


def make_table(folder, path):
    """A table with ids, whose clean rows have true labels; images of its rows beside it."""
    pandas = pytest.importorskip("pandas")
    from PIL import Image

    clean = np.loadtxt(folder / "clean.txt", dtype=int)
    labels = NAMES[GIVEN]
    labels[clean] = NAMES[TRUE[clean]]
    frame = pandas.DataFrame(FEATURES, columns=[f"e{i}" for i in range(16)])
    frame = frame.assign(species=labels, image=[f"{row:03d}.png" for row in range(300)], note="x")
    (path / "images").mkdir()
    for row in range(300):
        Image.new("RGB", (20, 30), (row % 256, 0, 0)).save(path / "images" / f"{row:03d}.png")
    frame.to_csv(path / "t.csv")
    return frame, clean


def test_table_with_clean_rows_ids_and_a_gallery(folder, tmp_path, capsys):
    frame, clean = make_table(folder, tmp_path)
    arguments = [str(tmp_path / "t.csv"), "--label-column", "species", "--id-column", "image"]
    arguments += ["--val-index", str(folder / "clean.txt"), "--images", str(tmp_path / "images")]
    (tmp_path / "images" / "299.png").write_bytes(b"broken")
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "no feature, since it counts the rows: 'Unnamed: 0'" in capsys.readouterr().out
    stored = files.load_npz(tmp_path / "out" / "purified.npz")
    rest = np.setdiff1d(np.arange(300), clean)
    np.testing.assert_array_equal(stored["index"], rest)
    labels = stored["class_names"][stored["labels"]]
    assert accuracy(labels, NAMES[TRUE[rest]]) > accuracy(GIVEN[rest], TRUE[rest]) + 0.2
    rows = read_issues(tmp_path / "out" / "issues.csv")
    assert len(rows) == 240
    assert not {int(row["index"]) for row in rows} & set(clean.tolist())
    for row in rows:
        assert row["id"] == f"{int(row['index']):03d}.png"
        assert row["given_label"] == frame["species"][int(row["index"])]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('class="card') == min(200, int(stored["changed"].sum()))
    assert "data:image/png;base64," in page
    assert re.findall(r"sure, row (\d{3}\.png)", page)


def test_earlier_results_are_not_lost_by_accident(folder, tmp_path, capsys):
    (tmp_path / "issues.csv").write_text("mine")
    (tmp_path / ".dmlp-purify.abc.tmp").mkdir()
    (tmp_path / ".dmlp-purify.abc.tmp" / "issues.csv").write_text("of a killed command")
    (tmp_path / ".mine.tmp").write_text("something else")
    arguments = [*basic(folder), "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "issues.csv already" in capsys.readouterr().err
    assert (tmp_path / "issues.csv").read_text() == "mine"
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", *FILES]


def test_what_cannot_be_written_is_told_in_one_line(folder, tmp_path, capsys, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_text", full)
    assert cli.main([*basic(folder), "--out", str(tmp_path / "out")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    # summary.json would say that the others are there.
    assert "summary.json" not in os.listdir(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["FEATURES", "--out"]),
        ("{f} {y} --val-features {v} --val-labels {w}", ["--out", "--help"]),
        ("{f} {y} --out {out} --valfeatures {v}", ["unrecognized", "--valfeatures"]),
        ("{f} {y} --out {out} --preset best", ["--preset", "'best'"]),
        ("{f} {y} --out {out} --seed x", ["--seed", "'x' is not a whole number"]),
        ("{f} {y} --out {out} --seed 9223372036854775808", ["--seed", "9223372036854775808 is not within"]),
        ("{f} {y} --out {out} --seed -9223372036854775809", ["--seed", "is not within"]),
        ("{f} {y} --out {out} --gallery x", ["--gallery", "'x' is not a whole number"]),
        ("{f} {y} --out {out} --draw-clean x", ["--draw-clean", "'x' is not a number"]),
        ("{f} {y} --out {out} --draw-clean 1", ["--draw-clean", "1.0 is not between 0 and 1"]),
        ("{f} {y} --out {out} --draw-clean --val-index {y}", ["--val-index or --draw-clean, not both"]),
        ("{f} {y} --out {out} --gallery 1001", ["--gallery", "1001 is not within 0 to 1000"]),
        ("{f} {y} --out {out}", ["no clean rows", "--val-index"]),
        ("{f}.gone {y} --out {out}", ["unknown kind of file", ".gone"]),
        ("{root}/gone.npy {y} --out {out}", ["gone.npy", "No such file"]),
        ("{f} {y} --val-features {v} --val-labels {w} --out {f}", ["--out", "is a file"]),
        ("{f} {y} --val-features {v} --val-labels {w} --out {f}/deep", ["--out", "cannot write"]),
        ("{f} {names} --val-features {v} --val-labels {w} --out {out}", ["names", "numbers"]),
        ("{f} {y} --val-features {v} --val-labels {w} --image-names {names} --out {out}", ["--images"]),
        ("{f} {y} --val-features {v} --val-labels {w} --images {root}/no --out {out}", ["no folder"]),
        ("{f} {y} --val-features {v} --val-labels {w} --images {root} --out {out}", ["0 images", "300 rows"]),
        ("{f} {y} --val-features {v} --val-labels {w} --num-classes 2 --out {out}", ["labels[", "0 to 1"]),
        ("{f} {y} --val-features {v} --val-labels {w} --num-classes 4 --out {out}", ["class '3'", "1 of 4"]),
        ("{root}/e.npz --label-column x --out {out}", ["--label-column is for tables"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(folder, tmp_path, capsys, arguments, words):
    places = {"root": folder, "out": tmp_path / "out"}
    places |= {name: folder / f"{name}.npy" for name in "fyvw"} | {"names": folder / "names.txt"}
    assert cli.main(arguments.format(**places).split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert not (tmp_path / "out").exists()


def run(arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "dmlp_jax.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def test_help_is_quick_and_shows_how_it_is_used():
    command = [sys.executable, "-m", "dmlp_jax.cli", "--help"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "dmlp-purify features.npy labels.npy --val-features" in out
    assert "--val-given-labels" in out


def test_the_script_is_declared():
    from importlib import metadata

    scripts = metadata.entry_points(group="console_scripts", name="dmlp-purify")
    if not scripts:
        pytest.skip("the package was installed before it had the script")
    assert next(iter(scripts)).value == "dmlp_jax.cli:console"


@pytest.mark.slow
def test_streamed_features_give_the_same_labels(folder, done, tmp_path, monkeypatch):
    from dmlp_jax.data import arrays

    monkeypatch.setattr(arrays, "total_memory", lambda: 1000)
    monkeypatch.setattr(arrays, "_SMALL", 0)
    assert isinstance(arrays.read_matrix(folder / "f.npy"), np.memmap)
    assert cli.main([*basic(folder), "--out", str(tmp_path / "a")]) == 0
    stored, plain = (files.load_npz(out / "purified.npz") for out in (tmp_path / "a", done))
    np.testing.assert_allclose(stored["probs"], plain["probs"], atol=1e-3)
    clean = ["--val-index", str(folder / "clean.txt"), "--val-labels", str(folder / "clean_true.txt")]
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), *clean]
    assert cli.main([*arguments, "--out", str(tmp_path / "b")]) == 0
    streamed = files.load_npz(tmp_path / "b" / "purified.npz")
    monkeypatch.undo()
    assert cli.main([*arguments, "--out", str(tmp_path / "c")]) == 0
    in_memory = files.load_npz(tmp_path / "c" / "purified.npz")
    np.testing.assert_array_equal(streamed["index"], in_memory["index"])
    np.testing.assert_allclose(streamed["probs"], in_memory["probs"], atol=1e-3)


@pytest.mark.slow
def test_given_labels_of_clean_rows_are_scored(folder, tmp_path):
    clean = np.loadtxt(folder / "clean.txt", dtype=int)
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), "--out", str(tmp_path)]
    arguments += ["--val-index", str(folder / "clean.txt"), "--val-labels", str(folder / "clean_true.txt")]
    assert cli.main([*arguments, "--val-given-labels"]) == 0
    contents = json.loads((tmp_path / "summary.json").read_text())
    assert contents["held_out"]["given"] == pytest.approx(np.mean(GIVEN[clean] == TRUE[clean]))


@pytest.mark.slow
def test_a_killed_command_leaves_whole_files_or_none(folder, done, tmp_path):
    out = tmp_path / "out"
    arguments = [*basic(folder), "--out", str(out), "--overwrite"]
    begin = time.monotonic()
    first = run(arguments)
    first.communicate(timeout=300)
    assert first.returncode == 0
    whole = time.monotonic() - begin
    expected = files.load_npz(out / "purified.npz")
    rng = random.Random(0)
    for trial in range(12):
        process = run(arguments)
        if trial % 2:
            # Many moments fall into the writing.
            while process.poll() is None and (out / "summary.json").exists():
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.3))
        else:
            time.sleep(rng.uniform(0, whole))
        process.kill()
        process.communicate()
        if (out / "summary.json").exists():
            assert json.loads((out / "summary.json").read_text())
            assert set(FILES) <= set(os.listdir(out))
        if (out / "purified.npz").exists():
            stored = files.load_npz(out / "purified.npz")
            np.testing.assert_array_equal(stored["probs"], expected["probs"])
        if (out / "report.html").exists():
            assert (out / "report.html").read_text().rstrip().endswith("</html>")
    final = run(arguments)
    final.communicate(timeout=300)
    assert sorted(os.listdir(out)) == FILES


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line(folder, tmp_path):
    process = run([*basic(folder), "--out", str(tmp_path / "out")])
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_text_and_a_terminal_without_unicode(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    features = rng.normal(size=(60, 4)).astype(np.float32)
    features[:, 0] += 4 * classes
    np.save(tmp_path / "x.npy", features)
    np.save(tmp_path / "y.npy", np.array(["Kätzchen\udcff", "犬"])[classes])
    np.save(tmp_path / "clean.npy", np.arange(20))
    command = [sys.executable, "-m", "dmlp_jax.cli", "x.npy", "y.npy", "--val-index=clean.npy", "--out=OUT"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert r"2 classes: K\xe4tzchen\udcff, \u72ac" in done.stdout
    table = (tmp_path / "OUT/issues.csv").read_text(encoding="utf-8")
    assert r"Kätzchen\udcff" in table
    assert "犬" in table
