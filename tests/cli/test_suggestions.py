"""`dmlp-purify --suggest`: the table of rows to review, and the way back through --apply."""

import csv
import os
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from dmlp_jax.cli import command as cli
from dmlp_jax.cli import suggestions
from dmlp_jax.cli.inputs import labelled_rows, reviewed_rows
from dmlp_jax.cli.inputs.input_files import Sources
from dmlp_jax.errors import UserError
from dmlp_jax.storage import files
from tests.cli.kit import GIVEN, NAMES, TRUE, basic
from tests.conftest import accuracy

FIRST = ["index", "given_label", "predicted_label", "confidence", "picked", "decision", "label", "run"]


class Result(NamedTuple):
    """What `suggestions.write` reads of a `PurifyResult`."""

    labels: np.ndarray
    confidence: np.ndarray
    label_quality: np.ndarray


def load(folder):
    sources = Sources(features=folder / "f.npy", labels=folder / "names.txt")
    return labelled_rows.load(sources, needs_clean=False)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def fill(path, decide):
    """Writes what `decide` makes of each row back, as a reviewer does."""
    rows = read(path)
    for row in rows:
        row |= decide(row)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def right(row):
    return {"label": NAMES[TRUE[int(row["index"])]]}


def test_without_clean_rows_it_is_a_first_table_beside_the_ranking(folder, tmp_path, capsys):
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), "--suggest", "12"]
    assert cli.main([*arguments, "--out", str(tmp_path / "a")]) == 0
    assert {"review.csv", "issues.csv", "report.html"} <= set(os.listdir(tmp_path / "a"))
    assert f"--apply {tmp_path / 'a' / 'review.csv'}" in capsys.readouterr().out
    rows = read(tmp_path / "a" / "review.csv")
    assert list(rows[0]) == FIRST
    index = [int(row["index"]) for row in rows]
    assert len(set(index)) == len(rows) == 12
    assert [row["given_label"] for row in rows] == NAMES[GIVEN[index]].tolist()
    assert {row["given_label"] for row in rows} == set(NAMES)
    for name in ("predicted_label", "confidence", "decision", "label"):
        assert {row[name] for row in rows} == {""}
    assert {row["picked"] for row in rows} == {"random"}
    # The same seed has the same rows, another one has others.
    for out, seed, same in (("b", "0", True), ("c", "1", False)):
        assert cli.main([*arguments, "--seed", seed, "--out", str(tmp_path / out)]) == 0
        assert (read(tmp_path / out / "review.csv") == rows) == same


def test_what_is_filled_in_makes_clean_rows(folder, tmp_path):
    rows = load(folder)
    assert suggestions.lacks_class(rows)
    suggestions.write(tmp_path, rows, 20, 0)
    path = tmp_path / "review.csv"
    fill(path, lambda row: right(row) if int(row["index"]) % 2 else {"decision": right(row)["label"]})
    index = [int(row["index"]) for row in read(path)]
    found = reviewed_rows.fold(rows, [path])
    assert found.row_numbers.tolist() == index
    assert found.notes == ()
    np.testing.assert_array_equal(found.rows.val_labels, TRUE[index])
    np.testing.assert_array_equal(found.rows.val_given_labels, GIVEN[index])
    np.testing.assert_array_equal(found.rows.val_features, rows.features[index])
    assert found.rows.val_random.all()
    assert len(found.rows.labels) == 280


def test_after_a_run_it_has_proposals_and_no_reviewed_row(folder, tmp_path):
    rows = load(folder)
    suggestions.write(tmp_path / "1", rows, 20, 0)
    fill(tmp_path / "1" / "review.csv", right)
    left = reviewed_rows.fold(rows, [tmp_path / "1" / "review.csv"]).rows
    rng = np.random.default_rng(0)
    result = Result(TRUE[left.row_numbers], *rng.random((2, 280)).astype(np.float32))
    told = suggestions.write(tmp_path / "2", left, 40, 0, result, {"text": [f"text {i}" for i in range(300)]})
    assert "40 rows to review, 10 of them drawn at random" in told
    table = read(tmp_path / "2" / "review.csv")
    assert list(table[0]) == [FIRST[0], "text", *FIRST[1:]]
    index = [int(row["index"]) for row in table]
    assert len(set(index)) == 40
    assert set(index) <= set(left.row_numbers.tolist())
    place = {number: place for place, number in enumerate(left.row_numbers)}
    for row, number in zip(table, index, strict=True):
        assert row["text"] == f"text {number}"
        assert row["predicted_label"] == NAMES[TRUE[number]]
        assert float(row["confidence"]) == pytest.approx(result.confidence[place[number]], abs=1e-6)
    assert [row["picked"] for row in table] == ["random"] * 10 + ["uncertain"] * 30
    fill(
        tmp_path / "2" / "review.csv",
        lambda row: {"decision": "accept" if int(row["index"]) % 2 else "reject"},
    )
    found = reviewed_rows.fold(rows, [tmp_path / "1" / "review.csv", tmp_path / "2" / "review.csv"])
    odd = np.array(index) % 2 == 1
    np.testing.assert_array_equal(found.rows.val_labels[20:], np.where(odd, TRUE[index], GIVEN[index]))
    assert found.rows.val_random.tolist() == [True] * 30 + [False] * 30


def test_a_table_that_is_filled_in_to_the_middle(folder, tmp_path):
    rows, path = load(folder), tmp_path / "review.csv"
    suggestions.write(tmp_path, rows, 20, 0)
    numbers = [row["index"] for row in read(path)]
    fill(path, lambda row: right(row) if row["index"] in numbers[:15] else {})
    found = reviewed_rows.fold(rows, [path])
    assert [str(number) for number in found.row_numbers] == numbers[:15]
    assert not found.rows.val_random.any()
    (note,) = found.notes
    assert "5 rows are not decided" in note
    assert "5 of them were drawn at random" in note


def test_names_and_pictures_are_in_the_table(folder, tmp_path):
    table = "name,x,z,label\n" + "".join(f"row {i},{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "t.csv").write_text(table)
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for i in range(30):
        Image.new("RGB", (2, 2)).save(tmp_path / "pictures" / "deep" / f"p{i}.png")
    (tmp_path / "names.txt").write_text("".join(f"deep/p{i}\n" for i in range(30)))
    arguments = [str(tmp_path / "t.csv"), "--id-column", "name", "--images", str(tmp_path / "pictures")]
    arguments += ["--image-names", str(tmp_path / "names.txt"), "--suggest", "4"]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    for row in read(tmp_path / "out" / "review.csv"):
        assert row["id"] == f"row {row['index']}"
        assert row["image"] == f"deep/p{row['index']}.png"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--suggest", "0"], ["--suggest", "0 is not within 1"]),
        (["--suggest", "some"], ["--suggest", "'some' is not a whole number"]),
        (["--suggest", "300"], ["--suggest: 300 rows, but only 300", "ask for fewer"]),
        (["--suggest", "5", "--val-labels", "w.npy"], ["--val-labels is of clean rows"]),
    ],
)
def test_mistakes_are_told(folder, tmp_path, capsys, more, words):
    assert cli.main([*basic(folder)[:2], *more, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    for word in words:
        assert word in told
    assert not (tmp_path / "out").exists()


def test_a_table_is_never_replaced(folder, tmp_path, capsys):
    arguments = [*basic(folder)[:2], "--suggest", "5", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    before = (tmp_path / "review.csv").read_bytes()
    assert cli.main([*arguments, "--seed", "3", "--overwrite"]) == 2
    assert "may hold decisions" in capsys.readouterr().err
    assert (tmp_path / "review.csv").read_bytes() == before


def test_a_class_that_no_reviewed_row_has_gets_another_table(folder, tmp_path, capsys):
    arguments = [*basic(folder)[:2], "--out"]
    assert cli.main([*arguments, str(tmp_path / "1"), "--suggest", "9"]) == 0
    first = tmp_path / "1" / "review.csv"
    fill(first, lambda row: {"label": str(min(TRUE[int(row["index"])], 1))})
    assert cli.main([*arguments, str(tmp_path / "0"), "--apply", str(first)]) == 0
    assert "The reviewed rows have none of class '2'" in capsys.readouterr().out
    assert cli.main([*arguments, str(tmp_path / "2"), "--apply", str(first), "--suggest", "9"]) == 0
    seen = [{row["index"] for row in read(tmp_path / name / "review.csv")} for name in "12"]
    assert not seen[0] & seen[1]
    assert "clean rows of every class are needed first" in capsys.readouterr().out


def test_a_full_disk_leaves_no_table(folder, tmp_path, monkeypatch):
    def full(path, text):
        raise UserError("no space")

    monkeypatch.setattr(files, "save_text", full)
    with pytest.raises(UserError):
        suggestions.write(tmp_path, load(folder), 5, 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_loop_from_no_clean_row_to_better_labels(folder, tmp_path):
    arguments = [str(folder / "f.npy"), str(folder / "names.txt"), "--map", "none", "--suggest", "20"]
    for turn in range(3):
        assert cli.main([*arguments, "--out", str(tmp_path / str(turn))]) == 0
        fill(tmp_path / str(turn) / "review.csv", right)
        arguments += ["--apply", str(tmp_path / str(turn) / "review.csv")]
    stored = files.load_npz(tmp_path / "2" / "purified.npz")
    assert sorted(stored["reviewed_index"]) == sorted(
        int(row["index"]) for name in "01" for row in read(tmp_path / name / "review.csv")
    )
    assert accuracy(stored["labels"], TRUE[stored["index"]]) > accuracy(GIVEN, TRUE) + 0.25
