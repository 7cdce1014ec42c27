"""What `dmlp-purify` leaves."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from dmlp_jax.cli import command as cli
from dmlp_jax.purifier import InputError
from dmlp_jax.storage import files
from tests.cli.kit import FEATURES, FILES, GIVEN, NAMES, TRUE, VAL_FEATURES, VAL_LABELS, basic, read_issues
from tests.conftest import accuracy


def test_leaves_four_files_and_nothing_else(done):
    assert sorted(os.listdir(done)) == FILES


def test_labels_are_repaired(done):
    stored = files.load_npz(done / "purified.npz")
    names = ["changed", "class_names", "confidence", "format_version", "index"]
    names += ["label_quality", "labels", "probs"]
    assert sorted(stored) == names
    assert accuracy(stored["labels"], TRUE) > accuracy(GIVEN, TRUE) + 0.2
    np.testing.assert_array_equal(stored["changed"], stored["labels"] != GIVEN)
    np.testing.assert_array_equal(stored["index"], np.arange(300))
    assert stored["class_names"].tolist() == ["0", "1", "2"]


def test_issues_are_sorted_and_agree_with_the_labels(done):
    rows, stored = read_issues(done / "issues.csv"), files.load_npz(done / "purified.npz")
    assert len(rows) == 300
    scores = [float(row["label_score"]) for row in rows]
    assert scores == sorted(scores)
    quality = stored["label_quality"][[int(row["index"]) for row in rows]]
    np.testing.assert_allclose(scores, quality, atol=1e-6)
    for row in rows:
        index = int(row["index"])
        assert row["given_label"] == str(GIVEN[index])
        assert row["predicted_label"] == str(stored["labels"][index])
        assert row["is_label_issue"] == str(stored["changed"][index])
    # The rows to look at first are the wrong ones.
    assert np.mean([GIVEN[int(row["index"])] != TRUE[int(row["index"])] for row in rows[:30]]) > 0.95


def test_warnings_are_printed_and_reported(folder, tmp_path, capsys):
    wrong = VAL_LABELS.copy()
    wrong[[4, 10, 17]] = (wrong[[4, 10, 17]] + 1) % 3
    np.save(tmp_path / "wrong.npy", wrong)
    assert cli.main([*basic(folder)[:-1], str(tmp_path / "wrong.npy"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "Warning: 3 of the 30 clean rows probably have wrong labels" in printed
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    # The second one is about labels before review.
    assert ["before review" in text for text in found] == [False, True]
    for text in found:
        assert text in printed
        assert text in (tmp_path / "out" / "report.html").read_text()


def test_scripts_hear_of_warnings_only(folder, tmp_path, capsys):
    np.save(tmp_path / "copied.npy", np.concatenate([FEATURES, GIVEN[:, None]], axis=1))
    np.save(tmp_path / "v.npy", np.concatenate([VAL_FEATURES, VAL_LABELS[:, None]], axis=1))
    arguments = [
        str(tmp_path / "copied.npy"),
        str(folder / "y.npy"),
        "--val-features",
        str(tmp_path / "v.npy"),
    ]
    arguments += ["--val-labels", str(folder / "w.npy"), "--quiet", "--map", "none", "--out"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    first, *others = said.err.splitlines()
    assert first.startswith(f"warning: feature {FEATURES.shape[1]}, counted from 0, tells the given label")
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert others == [f"warning: {text}" for text in warnings]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: --out")


def test_summary_and_report_tell_the_same(done):
    contents = json.loads((done / "summary.json").read_text())
    page = (done / "report.html").read_text()
    assert contents["rows"] == {"train": 300, "val": 30, "test": 0}
    assert contents["arguments"]["seed"] == 0
    assert contents["labels"]["purified"] is None
    assert contents["held_out"]["purified"] > 0.8
    assert contents["noise"]["estimated_flip_rate"] == pytest.approx(np.mean(GIVEN != TRUE), abs=0.06)
    assert f"{100 * contents['held_out']['purified']:.1f} %" in page
    assert page.count("<svg") == 6
    # The first screen: how many labels look wrong.
    assert f"<strong>{round(300 * contents['changed'])}</strong> <span>labels look wrong" in page
    assert "Reliability, held-out clean rows" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "f.npy" in page


def test_the_same_seed_gives_the_same_files(folder, done, tmp_path):
    assert cli.main([*basic(folder), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "issues.csv").read_bytes() == (done / "issues.csv").read_bytes()
    assert (tmp_path / "purified.npz").read_bytes() == (done / "purified.npz").read_bytes()


@pytest.mark.slow
def test_without_clean_rows_some_are_drawn(folder, tmp_path, capsys):
    arguments = [str(folder / "e.npz"), "--draw-clean", "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "holds val_features" in capsys.readouterr().err
    arguments = [str(folder / "f.npy"), str(folder / "y.npy"), *arguments[1:]]
    assert cli.main(arguments) == 0
    stored = files.load_npz(tmp_path / "purified.npz")
    drawn = np.setdiff1d(np.arange(300), stored["index"])
    np.testing.assert_array_equal(stored["drawn_index"], drawn)
    np.testing.assert_allclose(np.bincount(GIVEN[drawn]), 0.2 * np.bincount(GIVEN), atol=0.5)
    assert accuracy(stored["labels"], TRUE[stored["index"]]) > accuracy(GIVEN, TRUE) + 0.2
    contents = json.loads((tmp_path / "summary.json").read_text())
    assert contents["drawn"]["noise_rate"] == pytest.approx(0.5, abs=0.15)
    assert contents["rows"]["val"] == len(drawn)
    assert not any("before review" in text for text in contents["warnings"])
    for text in (capsys.readouterr().out, (tmp_path / "report.html").read_text()):
        assert "Nothing here shows how good the purified labels are" in text
        assert "The clean rows were not checked by anyone" in text
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
    assert f"{100 * contents['labels']['purified']:.1f} %" in out
    assert re.search(r"\npurified +[\d.]+ % expected", out)
    assert re.search(r"\ngiven +not counted", out)
    assert re.search(r"\nnoisy_probe +[\d.]+ % ± [\d.]+ %", out)
    assert "an assumption, not a count" in out


def make_table(folder, path):
    """A table with ids, whose clean rows have true labels; images of its rows beside it."""
    pandas = pytest.importorskip("pandas")
    from PIL import Image

    clean = np.loadtxt(folder / "clean.txt", dtype=int)
    labels = NAMES[GIVEN]
    labels[clean] = NAMES[TRUE[clean]]
    frame = pandas.DataFrame(FEATURES, columns=[f"e{i}" for i in range(16)])
    frame = frame.assign(species=labels, image=[f"{row:03d}.png" for row in range(300)])
    frame["note"] = [f"what the row {row} is about, <b>at</b> some length" for row in range(300)]
    (path / "images").mkdir()
    for row in range(300):
        Image.new("RGB", (20, 30), (row % 256, 0, 0)).save(path / "images" / f"{row:03d}.png")
    frame.to_csv(path / "t.csv")
    return frame, clean


def table_arguments(folder, path):
    """The command's words for the table of `make_table`."""
    words = ["--label-column", "species", "--val-index", str(folder / "clean.txt")]
    return [str(path / "t.csv"), *words]


def test_table_with_clean_rows_ids_and_a_gallery(folder, tmp_path, capsys):
    frame, clean = make_table(folder, tmp_path)
    arguments = [str(tmp_path / "t.csv"), "--label-column", "species", "--id-column", "image"]
    arguments += ["--val-index", str(folder / "clean.txt"), "--images", str(tmp_path / "images")]
    arguments += ["--show-columns", "note,e3"]
    (tmp_path / "images" / "299.png").write_bytes(b"broken")
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert (
        "; not used as features: 'Unnamed: 0' (row numbers), 'note' (text); --feature-columns chooses others"
    ) in capsys.readouterr().out
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
    assert "data:image/png;base64," in page
    assert re.findall(r"confidence [\d.]+ %, (\d{3}\.png)", page)
    # What the page holds, row by row, the rows listed first and then the clean ones near to them.
    data, values, pictures = (
        re.search(f'<script type="[^"]*" id="review-{name}">(.*?)</script>', page, re.DOTALL)[1]
        for name in ("data", "values", "pictures")
    )
    data = json.loads(data)
    values = [json.loads(line) for line in values.split("\n")]
    order = [int(row["index"]) for row in rows]
    assert (data["index"], data["columns"], data["text"]) == (order, ["note", "e3"], 0)
    near = data["reviewed"]["names"]
    assert set(near) <= {f"{row:03d}.png" for row in clean}
    shown = order + [int(name[:3]) for name in near]
    assert [note for note, _ in values] == [frame["note"][row] for row in shown]
    np.testing.assert_allclose([float(e3) for _, e3 in values], frame["e3"][shown], rtol=1e-6)
    assert [not line for line in pictures.split("\n")] == [row == 299 for row in shown]
    assert data["reviewed"]["label"] == [int(TRUE[row]) for row in shown[len(order) :]]
    assert "--show-columns note,e3 --apply decisions.csv --out" in page
    assert str(tmp_path / "out_2") in page


def test_columns_to_show_are_checked_before_the_run(folder, tmp_path, capsys):
    make_table(folder, tmp_path)
    arguments = table_arguments(folder, tmp_path)
    assert cli.main([*arguments, "--out", str(tmp_path / "out"), "--show-columns", "nota"]) == 2
    assert "has no column 'nota' for --show-columns" in capsys.readouterr().err
    assert cli.main([*basic(folder), "--out", str(tmp_path / "out"), "--show-columns", "note"]) == 2
    assert "is no table" in capsys.readouterr().err


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
    assert next(iter(scripts)).value == "dmlp_jax.cli.command:console"


@pytest.mark.slow
def test_streamed_features_give_the_same_labels(folder, done, tmp_path, monkeypatch):
    from dmlp_jax.cli.inputs import arrays

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
def test_given_labels_of_clean_rows_are_scored(folder, tmp_path, capsys):
    clean = np.loadtxt(folder / "clean.txt", dtype=int)
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), "--out", str(tmp_path)]
    arguments += ["--val-index", str(folder / "clean.txt"), "--val-labels", str(folder / "clean_true.txt")]
    assert cli.main(arguments) == 0
    contents = json.loads((tmp_path / "summary.json").read_text())
    assert contents["held_out"]["given"] == pytest.approx(np.mean(GIVEN[clean] == TRUE[clean]))
    assert contents["counted"] == {"random_rows": 60, "given_random_rows": 60, "given_known": 60}
    own = contents["scores"]["purified"]
    claim = f"{100 * own['accuracy']:.1f} % ± {100 * own['standard_error']:.1f} % on 60 reviewed rows"
    assert claim in (tmp_path / "report.html").read_text()
    assert "expected" not in capsys.readouterr().out


def test_what_is_known_of_the_clean_rows_is_handed_on(folder, tmp_path, capsys, monkeypatch):
    heard = {}

    def purify(*_, **known):
        heard.update(known)
        raise InputError("heard")

    monkeypatch.setattr("dmlp_jax.purifier.purify", purify)
    clean = np.loadtxt(folder / "clean.txt", dtype=int)
    rest = np.setdiff1d(np.arange(300), clean)[:2]
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), "--out", str(tmp_path / "out")]
    arguments += ["--val-index", str(folder / "clean.txt"), "--val-labels", str(folder / "clean_true.txt")]
    assert cli.main(arguments) == 2
    np.testing.assert_array_equal(heard["val_given_labels"], GIVEN[clean])
    assert heard["val_random"] is None
    wrong = int(np.sum(GIVEN[clean] != TRUE[clean]))
    assert f"60 of 60 clean rows have a known given label; {wrong} are wrong" in capsys.readouterr().out
    decisions = ["index,given_label,predicted_label,decision,picked"]
    decisions += [f"{row},{NAMES[GIVEN[row]]},ant,accept," for row in rest[:1]]
    decisions += [f"{row},{NAMES[GIVEN[row]]},ant,accept,random" for row in rest[1:]]
    (tmp_path / "d.csv").write_text("\n".join(decisions))
    assert cli.main([*arguments, "--apply", str(tmp_path / "d.csv")]) == 2
    np.testing.assert_array_equal(heard["val_given_labels"], GIVEN[np.append(clean, rest)])
    np.testing.assert_array_equal(heard["val_random"], [*[True] * 60, False, True])


def test_a_feature_of_another_unit_is_named(folder, tmp_path, capsys):
    frame, _ = make_table(folder, tmp_path)
    frame.assign(e3=1000 * frame["e3"]).to_csv(tmp_path / "t.csv", index=False)
    arguments = table_arguments(folder, tmp_path)
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "feature 3, counted from 0, has 100.0% of the variance" in capsys.readouterr().out


def test_a_hole_in_the_features_is_no_feature_of_another_unit(folder, tmp_path, capsys):
    for value in (np.nan, np.inf):
        features = np.load(folder / "f.npy").astype(np.float32)
        features[0, 3] = value
        np.save(tmp_path / "f.npy", features)
        arguments = [
            str(tmp_path / "f.npy"),
            str(folder / "labels.npy"),
            "--val-index",
            str(folder / "clean.txt"),
        ]
        assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 2
        assert "of the variance" not in capsys.readouterr().out
