import csv

import numpy as np
import pytest

from dmlp_jax.cli import conflicts
from dmlp_jax.cli.inputs import reviewed_rows
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.data import row_subset
from dmlp_jax.errors import UserError
from dmlp_jax.report import decisions

NAMES = ("cat", "dog, big", 'the "bird"', "fish\nline")
GIVEN = np.array([0, 1, 2, 3, 0], np.int32)
# Rows 3 and 5 of the file are clean.
INDEX = np.array([0, 1, 2, 4, 6])
DATA = decisions.fingerprint(GIVEN, NAMES, INDEX)


def make_rows(features=None):
    return LabelledRows(
        features=np.arange(10, dtype=np.float32).reshape(5, 2) if features is None else features,
        labels=GIVEN,
        val_features=np.array([[-1.0, -1.0], [-2.0, -2.0]], np.float32),
        val_labels=np.array([3, 2], np.int32),
        val_given_labels=np.array([1, 2], np.int32),
        true_labels=np.array([1, 1, 2, 0, 0], np.int32),
        class_names=NAMES,
        row_numbers=INDEX,
        ids=np.array(list("abcdefg")),
        file_rows=7,
        left_out={},
    )


def write(path, *rows, header=decisions.COLUMNS):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def row(
    index,
    given,
    predicted,
    decision,
    label="",
    confidence="0.75",
    run=f"{DATA}-0a0b0c0d",
    picked="suspicious",
):
    names = [NAMES[value] if isinstance(value, int) else value for value in (given, predicted)]
    label = NAMES[label] if isinstance(label, int) else label
    return (index, *names, decision, confidence, label, run, picked)


def read(path):
    return decisions.read(path, GIVEN, NAMES, INDEX)


def test_each_kind_of_decision(tmp_path):
    path = write(
        tmp_path / "d.csv",
        row(6, 0, 2, "accept", 2),
        row(0, 0, 1, "reject", confidence=""),
        row(4, 3, 1, "correct", 0),
        row(2, 2, 1, "skip"),
    )
    found = read(path)
    assert found.rows.tolist() == [4, 0, 3]
    assert found.labels.tolist() == [2, 0, 0]
    assert found.predicted.tolist() == [2, 1, 1]
    assert found.kinds.tolist() == ["accept", "reject", "correct"]
    np.testing.assert_array_equal(found.confidence, [0.75, np.nan, 0.75])
    assert not found.random.any()
    assert found.skipped == 1


def test_only_the_word_random_means_drawn_at_random(tmp_path):
    words = ["random", "suspicious", "own choice", ""]
    path = write(
        tmp_path / "d.csv",
        *(row(index, int(GIVEN[place]), 1, "accept", picked=word)
          for place, (index, word) in enumerate(zip(INDEX[:4], words, strict=True))),
    )  # fmt: skip
    found = read(path)
    assert found.random.dtype == bool
    assert found.random.tolist() == [True, False, False, False]


def test_a_class_may_stand_in_the_place_of_the_decision_or_alone(tmp_path):
    path = write(
        tmp_path / "d.csv",
        row(6, 0, 2, NAMES[2]),
        row(0, 0, 1, NAMES[0], 0),
        row(4, 3, 1, "", 0),
        row(2, 2, 2, "", 2),
    )
    found = read(path)
    assert found.kinds.tolist() == ["accept", "reject", "correct", "accept"]
    assert found.labels.tolist() == [2, 0, 0, 2]


def test_rows_without_decision_are_left_out_of_a_table_that_a_run_wrote(tmp_path):
    path = write(
        tmp_path / "d.csv",
        row(6, 0, 2, "", picked="random"),
        row(0, 0, 1, "accept", picked="random"),
        row(4, 3, 1, " "),
        row(2, 2, 1, "reject"),
    )
    found = read(path)
    assert found.rows.tolist() == [0, 2]
    assert (found.undecided, found.undecided_random, found.skipped) == (2, 1, 0)
    # One of the random rows is missing: the reviewer chose which of them count.
    assert found.random.tolist() == [False, False]
    path = write(tmp_path / "d.csv", row(0, 0, 1, "accept", picked="random"), row(4, 3, 1, ""))
    assert read(path).random.tolist() == [True]


def test_a_table_of_before_any_run_proposes_nothing(tmp_path):
    path = write(
        tmp_path / "d.csv",
        row(6, 0, "", "", 2, confidence="", run=DATA, picked="random"),
        row(0, 0, "", "reject", confidence="", run=DATA, picked="class"),
    )
    found = read(path)
    assert found.labels.tolist() == [2, 0]
    # No change was proposed, so none was right.
    assert found.predicted.tolist() == [0, 0]
    assert found.random.tolist() == [True, False]
    assert reviewed_rows.fold(make_rows(), [path]).counts["changes"] == 0


def test_a_file_by_hand_needs_four_columns_only(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b'\xef\xbb\xbfdecision,index,given_label,predicted_label\r\naccept,1,"dog, big",cat\r\n')
    found = read(path)
    assert found.labels.tolist() == [0]
    assert found.random.tolist() == [False]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (row("x", 0, 1, "accept"), ["line 3, column index", "'x' is not a row number"]),
        (row("3", 0, 1, "accept"), ["line 3, column index", "no row 3", "0 to 6"]),
        (row("0", 1, 1, "accept"), ["line 3, column given_label", "'cat'", "other data"]),
        (row("0", "cow", 1, "accept"), ["line 3, column given_label", "'cow' is not a class"]),
        (row("0", 0, "cow", "accept"), ["line 3, column predicted_label", "'cow' is not a class"]),
        (row("0", 0, 1, "yes"), ["line 3, column decision", "'yes'", "accept, reject, correct, skip"]),
        (row("0", 0, 1, "", run=""), ["line 3, column decision", "'' is none of"]),
        (row("0", 0, 1, NAMES[2], 1), ["line 3", "write the right class once"]),
        (row("0", 0, "", "accept"), ["line 3, column decision", "nothing is proposed", "column label"]),
        (row("0", 0, 1, "", "cow"), ["line 3, column label", "'cow' is not a class"]),
        (row("0", 0, 1, "correct"), ["line 3, column label", "'' is not a class"]),
        (row("0", 0, 1, "accept", 2), ["line 3, column label", "'correct'"]),
        (row("0", 0, 1, "reject", 1), ["line 3, column label", "'correct'"]),
        (row("0", 0, 1, "accept", confidence="high"), ["line 3, column confidence", "'high'"]),
        (row("0", 0, 1, "accept", confidence="1.2"), ["line 3, column confidence", "'1.2'"]),
        (row("0", 0, 1, "accept", run="00ff-1"), ["line 3, column run", "another run", DATA]),
        (
            row("0", 0, 1, "skip", picked="lot"),
            ["line 3, column picked", "'lot'", "random, suspicious, own choice"],
        ),
        ((*row("0", 0, 1, "accept"), "more"), ["line 3", "more values than columns"]),
        (("0", "cat"), ["line 3, column predicted_label", "'' is not a class"]),
    ],
)
def test_a_mistake_is_told_with_line_and_column(tmp_path, bad, words):
    path = write(tmp_path / "d.csv", row(1, 1, 0, "accept"), bad)
    with pytest.raises(UserError) as error:
        read(path)
    for word in [str(path), *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["line 1", "it has none"]),
        (b"index;decision\n", ["line 1", "given_label", "'index;decision'"]),
        (b"index,index,given_label,predicted_label,decision\n", ["line 1", "index occurs twice"]),
        (b'index,given_label,predicted_label,decision\n0,"cat,cat,accept\n', ["line 2", "end of data"]),
        (b"\xff\xfe", ["UTF-8", "byte 0"]),
    ],
)
def test_files_that_are_no_decisions(tmp_path, content, words):
    path = tmp_path / "d.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path)
    for word in words:
        assert word in str(error.value)


def test_a_table_that_nobody_filled_in(tmp_path):
    with pytest.raises(UserError, match=r"no row is decided yet.*column label"):
        read(write(tmp_path / "d.csv", row(6, 0, 2, ""), row(0, 0, 2, "")))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "d.csv")


def test_fingerprint_tells_labels_rows_and_names_apart():
    others = (
        decisions.fingerprint(GIVEN[::-1], NAMES, INDEX),
        decisions.fingerprint(GIVEN, NAMES[::-1], INDEX),
        decisions.fingerprint(GIVEN, NAMES, INDEX + 1),
        decisions.fingerprint(GIVEN[:4], NAMES, INDEX[:4]),
    )
    assert len({DATA, *others}) == 5
    assert decisions.fingerprint(GIVEN.astype(np.int64), NAMES, INDEX.astype(np.int32)) == DATA
    runs = {decisions.run_fingerprint(DATA, GIVEN), decisions.run_fingerprint(DATA, GIVEN[::-1])}
    assert len(runs) == 2


def test_decided_rows_join_the_clean_ones(tmp_path):
    path = write(
        tmp_path / "d.csv", row(6, 0, 2, "accept"), row(0, 0, 1, "reject"), row(4, 3, 1, "correct", 0)
    )
    found = reviewed_rows.fold(make_rows(), [path])
    rows = found.rows
    assert rows.row_numbers.tolist() == [1, 2]
    assert rows.labels.tolist() == [1, 2]
    assert rows.true_labels.tolist() == [1, 2]
    np.testing.assert_array_equal(rows.features, [[2, 3], [4, 5]])
    np.testing.assert_array_equal(rows.val_features, [[-1, -1], [-2, -2], [8, 9], [0, 1], [6, 7]])
    assert rows.val_labels.tolist() == [3, 2, 2, 0, 0]
    assert rows.val_given_labels.tolist() == [1, 2, 0, 0, 3]
    assert rows.val_random.tolist() == [True, True, False, False, False]
    assert found.row_numbers.tolist() == [6, 0, 4]
    assert found.labels.tolist() == [2, 0, 0]
    assert found.counts == {
        "accepted": 1, "rejected": 1, "corrected": 1, "skipped": 0, "clean": 3, "random": 0,
        "conflicts": 0, "changes": 3, "right": 1, "confidence": 0.75,
    }  # fmt: skip


def test_given_labels_of_earlier_clean_rows_stay_unknown(tmp_path):
    unknown = make_rows()._replace(val_given_labels=None)
    path = write(tmp_path / "d.csv", row(6, 0, 2, "accept", picked="random"), row(4, 3, 1, "correct", 0))
    rows = reviewed_rows.fold(unknown, [path]).rows
    assert rows.val_given_labels.tolist() == [-1, -1, 0, 3]
    assert rows.val_random.tolist() == [True, True, True, False]


def test_a_second_file_is_of_what_the_first_left(tmp_path):
    first = write(tmp_path / "1.csv", row(6, 0, 2, "accept"), row(1, 1, 1, "accept"))
    left = reviewed_rows.fold(make_rows(), [first]).rows
    run = decisions.fingerprint(left.labels, NAMES, left.row_numbers)
    second = write(tmp_path / "2.csv", row(0, 0, 1, "accept", run=run), row(2, 2, 0, "skip", run=run))
    found = reviewed_rows.fold(make_rows(), [first, second])
    assert found.rows.row_numbers.tolist() == [2, 4]
    assert found.rows.val_labels.tolist() == [3, 2, 2, 1, 1]
    assert found.rows.val_given_labels.tolist() == [1, 2, 0, 1, 0]
    assert found.rows.val_random.tolist() == [True, True, False, False, False]
    # Row 1 was accepted as it is: no change was judged.
    assert (found.counts["changes"], found.counts["right"], found.counts["skipped"]) == (2, 2, 1)
    with pytest.raises(UserError, match="another run"):
        reviewed_rows.fold(make_rows(), [second, first])


def test_rows_on_disk_stay_there(tmp_path):
    np.save(tmp_path / "f.npy", np.arange(14, dtype=np.float32).reshape(7, 2))
    matrix = np.load(tmp_path / "f.npy", mmap_mode="r")
    subset = row_subset.take_rows(matrix, INDEX)
    found = reviewed_rows.fold(make_rows(subset), [write(tmp_path / "d.csv", row(2, 2, 1, "accept"))])
    assert isinstance(found.rows.features, row_subset.RowSubset)
    np.testing.assert_array_equal(found.rows.features[:], matrix[[0, 1, 4, 6]])
    np.testing.assert_array_equal(found.rows.val_features[-1], matrix[2])


def test_something_must_be_left_to_purify(tmp_path):
    every = [row(number, int(given), 1, "accept") for number, given in zip(INDEX, GIVEN, strict=True)]
    with pytest.raises(UserError, match="every row"):
        reviewed_rows.fold(make_rows(), [write(tmp_path / "d.csv", *every)])


IDS = np.array(list("abceg"))


def by_name(name, given, predicted, decision, label="", **options):
    """A decision on the row of this name; index and run are those of another order."""
    return (name, *row(99, given, predicted, decision, label, run="00ff-1", **options))


def read_by_name(path, **options):
    return decisions.read(path, GIVEN, NAMES, INDEX, ids=IDS, **options)


def test_decisions_find_their_rows_by_name_whatever_the_order_is_now(tmp_path):
    header = ("id", *decisions.COLUMNS)
    path = write(
        tmp_path / "d.csv",
        by_name("g", 0, 2, "accept", 2),
        by_name("a", 0, 1, "reject", picked="random"),
        by_name("e", 3, 1, "correct", 0),
        by_name("gone", 3, 1, "accept"),
        by_name("c", 0, 1, "reject"),
        by_name("b", 1, 0, "skip"),
        header=header,
    )
    found = read_by_name(path)
    assert found.rows.tolist() == [4, 0, 3, 2]
    # Row c is given class 2 now, and was given class 0 when the reviewer confirmed that.
    assert found.labels.tolist() == [2, 0, 0, 0]
    assert found.given.tolist() == [0, 0, 3, 0]
    assert found.random.tolist() == [False, True, False, False]
    assert (found.skipped, found.absent, found.relabelled) == (1, 1, 1)
    with pytest.raises(UserError, match="another run"):
        read(path)
    reviewed = reviewed_rows.fold(make_rows(), [path])
    # The names of all rows of the file are a to g, so c is row 2 there.
    assert reviewed.rows.row_numbers.tolist() == [1]
    assert reviewed.rows.val_given_labels.tolist() == [1, 2, 0, 0, 3, 0]
    assert [text.split(": ")[1][:11] for text in reviewed.notes] == ["1 decisions", "1 rows have"]


def test_names_that_fit_no_row_or_several(tmp_path):
    header = ("id", *decisions.COLUMNS)
    path = write(
        tmp_path / "d.csv", by_name("x", 0, 2, "accept"), by_name("a", 0, 2, "accept"), header=header
    )
    with pytest.raises(UserError, match="1 of 2 decisions are on rows that are not"):
        read_by_name(path)
    path = write(tmp_path / "d.csv", by_name("a", 0, 2, "accept"), header=header)
    with pytest.raises(UserError, match=r"line 2, column id: 2 rows are called 'a'"):
        decisions.read(path, GIVEN, NAMES, INDEX, ids=np.array(list("abcae")))


def test_a_table_by_hand_needs_names_and_classes_only(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('id,decision\ng,cat\nb,"dog, big"\n')
    found = read_by_name(path)
    assert found.rows.tolist() == [4, 1]
    assert found.labels.tolist() == [0, 1]
    assert found.kinds.tolist() == ["reject", "reject"]


def test_two_reviewers_of_one_page_agree_differ_and_settle_it(tmp_path):
    first = write(tmp_path / "1.csv", row(6, 0, 2, "accept"), row(0, 0, 1, "reject"), row(4, 3, 1, "accept"))
    second = write(
        tmp_path / "2.csv",
        row(6, 0, 2, "accept", picked="random"),
        row(0, 0, 1, "accept"),
        row(2, 2, 1, "skip"),
        row(4, 3, 1, "skip"),
    )
    found = reviewed_rows.fold(make_rows(), [first, second])
    assert found.row_numbers.tolist() == [6, 4]
    assert found.labels.tolist() == [2, 1]
    assert found.rows.row_numbers.tolist() == [0, 1, 2]
    assert found.rows.val_random.tolist() == [True, True, True, False]
    ((number, given, predicted, opinions),) = found.conflicts
    assert (number, given, predicted) == (0, 0, 1)
    assert opinions == f"'cat' ({first}, line 3), 'dog, big' ({second}, line 3)"
    assert found.counts["conflicts"] == 1
    assert "row 'a': 'cat'" in conflicts.described(found)
    conflicts.write(tmp_path, found)
    with pytest.raises(UserError, match="may hold decisions"):
        conflicts.check_folder(tmp_path)
    table = list(csv.DictReader((tmp_path / "conflicts.csv").read_text().splitlines()))
    assert [(line["id"], line["label"], line["opinions"]) for line in table] == [("a", "", opinions)]
    table[0]["label"] = NAMES[3]
    write(tmp_path / "conflicts.csv", *(line.values() for line in table), header=table[0])
    settled = reviewed_rows.fold(make_rows(), [first, second, tmp_path / "conflicts.csv"])
    assert settled.conflicts == ()
    assert dict(zip(settled.row_numbers.tolist(), settled.labels.tolist(), strict=True)) == {6: 2, 4: 1, 0: 3}
    # Without names, too.
    nameless = make_rows()._replace(ids=None)
    found = reviewed_rows.fold(nameless, [first, second])
    assert "row 0: 'cat'" in conflicts.described(found)


def test_one_file_may_contradict_itself(tmp_path):
    path = write(tmp_path / "d.csv", row(1, 1, 0, "accept"), row(6, 0, 2, "reject"), row(1, 1, 0, "reject"))
    found = reviewed_rows.fold(make_rows(), [path])
    assert found.row_numbers.tolist() == [6]
    assert [conflict.row_number for conflict in found.conflicts] == [1]
    same = write(tmp_path / "d.csv", row(1, 1, 0, "accept"), row(1, 1, 0, "accept"))
    assert reviewed_rows.fold(make_rows(), [same]).row_numbers.tolist() == [1]
