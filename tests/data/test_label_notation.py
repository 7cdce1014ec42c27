"""Labels in the notations that people and tools write, against the plain list of names or numbers."""

from decimal import Decimal

import numpy as np
import pandas
import pytest

from dmlp_jax.data import class_labels
from dmlp_jax.data.label_notation import flat
from dmlp_jax.errors import UserError

WORDS = ["cat", "dog", "cat"]


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[w] for w in WORDS]),
        objects(*([w] for w in WORDS)),
        objects(*(np.array([w], object) for w in WORDS)),
        objects(*((w,) for w in WORDS)),
        objects(*(w.encode() for w in WORDS)),
        np.array([f"['{w}']" for w in WORDS]),
        objects(*(f'["{w}"]' for w in WORDS)),
    ],
    ids=["column", "lists", "arrays", "tuples", "bytes", "python", "json"],
)
def test_lists_of_one_are_what_they_hold(labels):
    codes, names = class_labels.encode({"labels": labels})
    assert names == ("cat", "dog")
    assert codes["labels"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("dtype", [int, float, bool, np.uint8])
def test_one_hot_rows_are_the_numbers_of_their_columns(dtype):
    numbers = np.array([2, 0, 1, 2])
    assert flat("labels", np.eye(3)[numbers].astype(dtype)).tolist() == numbers.tolist()
    assert flat("labels", objects(*np.eye(3)[numbers].astype(dtype).tolist())).tolist() == numbers.tolist()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([f"{value:.18e}" for value in (10, 2, 0)]),
        np.array(["1e1", "2e0", "0E+0"]),
        np.array(["+10", " 2 ", "0."]),
        objects(Decimal("10.0"), Decimal(2), Decimal("0e3")),
        pandas.array([10, 2, 0], "Int64"),
        np.array(["[10]", "[2]", "[0]"]),
    ],
    ids=["savetxt", "exponents", "signs", "decimals", "Int64", "lists"],
)
def test_whole_numbers_in_any_notation(labels):
    codes, names = class_labels.encode({"labels": np.asarray(labels), "val": np.array([0, 2, 10])})
    assert names == ("0", "2", "10")
    assert codes["labels"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, -1, 1], ("-1", "1")),
        (["+1", "-1", "-1"], ("-1", "1")),
        ([-1.0, 1.0], ("-1", "1")),
        ([-2, -1, 0, 1, 2], ("-2", "-1", "0", "1", "2")),
        (objects(True, False, True), ("False", "True")),
        (["[UNK]", "[PAD]"], ("[PAD]", "[UNK]")),
        (["1e5", "2e7", "7a2"], ("1e5", "2e7", "7a2")),
    ],
)
def test_signs_truth_values_and_names_in_brackets(values, names):
    codes, found = class_labels.encode({"labels": np.asarray(values)})
    assert found == names
    written = [str(value) for value in np.asarray(values)]
    again = [found[code] for code in codes["labels"]]
    assert [float(a) if names[0] in ("-1", "-2") else a for a in again] == [
        float(w) if names[0] in ("-1", "-2") else w for w in written
    ]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (objects(["a"], ["a", "b"], []), r"labels\[1\] has 2 labels \(1 such rows\).*true at once"),
        (objects(["a"], [], ["b"]), r"labels\[1\] is missing"),
        (objects({"label": "a"}, {"label": "b"}), r"labels\[0\] is the record \{'label': 'a'\}"),
        (np.array([[1, 0], [1, 1], [0, 1]]), r"labels\[1\] has 2 labels"),
        (np.array([[1, 0], [0, 0]]), r"labels\[1\] has no label"),
        (np.array([[0.5, 0.5], [0.9, 0.1]]), r"probabilities.*argmax"),
        (np.array([[3, 1], [0, 2]]), r"one label per row"),
        (pandas.array([1, None, 2], "Int64"), r"labels\[1\] is missing"),
        (np.array([0, 1, -1]), r"labels\[2\] is -1 .*classes as names.*unknown"),
        (np.array([0, 1, -999]), r"labels\[2\] is -999"),
        (np.array(["1e0", "2.5e0"]), r"labels\[1\] is 2.5e0.*Regression"),
        (np.array(["1", "1e999999999"]), r"labels\[1\] is 1e999999999 .*largest class"),
    ],
)
def test_what_cannot_be_taken_has_the_right_remedy(labels, words):
    with pytest.raises(UserError, match=words) as caught:
        class_labels.encode({"labels": np.asarray(labels)})
    assert "remove" not in str(caught.value).lower()
