"""Mistakes, and commands that are cut short."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dmlp_jax.cli import command as cli
from dmlp_jax.storage import files
from tests.cli.kit import FILES, basic, run


def test_earlier_results_are_not_lost_by_accident(folder, tmp_path, capsys):
    (tmp_path / "issues.csv").write_text("mine")
    (tmp_path / ".dmlp-purify.abc.tmp").mkdir()
    (tmp_path / ".dmlp-purify.abc.tmp" / "issues.csv").write_text("of a killed command")
    (tmp_path / ".mine.tmp").write_text("something else")
    arguments = [*basic(folder), "--preset", "paper", "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "issues.csv already" in capsys.readouterr().err
    assert (tmp_path / "issues.csv").read_text() == "mine"
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", *FILES]


def test_what_cannot_be_written_is_told_in_one_line(folder, tmp_path, capsys, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_text", full)
    assert cli.main([*basic(folder), "--preset", "paper", "--out", str(tmp_path / "out")]) == 2
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
        ("{f} {y} --out {out} --draw-clean x", ["'x' is not a number; name the files first"]),
        ("{f} {y} --out {out} --draw-clean 1", ["--draw-clean", "1.0 is not between 0 and 1"]),
        ("{f} {y} --out {out} --draw-clean --val-index {y}", ["--val-index or --draw-clean, not both"]),
        ("{f} {y} --out {out} --draw-clean --num-classes 4", ["no row is labelled '3' (1 of 4 classes)"]),
        ("{f} {y} --out {out} --accept-risk x", ["--accept-risk", "'x' is not a number; write 0.01 for 1 %"]),
        ("{f} {y} --out {out} --accept-risk 1", ["--accept-risk", "1.0 is not between 0 and 1"]),
        ("{f} {y} --out {out} --gallery 50001", ["--gallery", "50001 is not within 0 to 50000"]),
        ("{f} {y} --val-labels {w} --out {out}", ["--val-labels is of clean rows", "--val-index"]),
        ("{f} {y} --encoder tfidf --out {out}", ["--encoder is for texts and images", "--text"]),
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
    command += ["--preset=paper"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert r"2 classes: K\xe4tzchen\udcff, \u72ac" in done.stdout
    table = (tmp_path / "OUT/issues.csv").read_text(encoding="utf-8")
    assert r"Kätzchen\udcff" in table
    assert "犬" in table
