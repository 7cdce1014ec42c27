import numpy as np
import pytest

from dmlp_jax.data import class_labels
from dmlp_jax.errors import UserError

pandas = pytest.importorskip("pandas")


def encode(**columns):
    return class_labels.encode({name: np.asarray(values) for name, values in columns.items()})


def test_names_are_classes_in_sorted_order():
    codes, names = encode(labels=["dog", "cat", "dog"], val=["ant", "dog", "cat"])
    assert names == ("ant", "cat", "dog")
    assert codes["labels"].tolist() == [2, 1, 2]
    assert codes["val"].tolist() == [0, 2, 1]
    assert codes["val"].dtype == np.int32


def test_numbers_are_in_the_order_of_their_values_however_they_are_written():
    for labels in ([10, 2, 0], ["10", "2", "0"], [10.0, 2.0, 0.0], ["10.0", "2", "0"], [b"10", b"2", b"0"]):
        codes, names = encode(labels=labels, val=np.array([0, 2, 10]))
        assert names == ("0", "2", "10")
        assert codes["labels"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        [str(2**53), str(2**53 + 1), str(2**63 - 1)],
        [f"{2**53}.0", f"{2**53 + 1}.", str(2**63 - 1)],
        np.array([2**53, 2**53 + 1, 2**63 - 1], np.uint64),
        np.array([2**53, 2**53 + 1, np.int64(2**63 - 1)], object),
        np.array([2.0**53, 2**53 + 1, np.int64(2**63 - 1)], object),
    ],
    ids=["text", "text with points", "uint64", "objects", "objects and a float"],
)
def test_large_numbers_of_classes_stay_apart(labels):
    codes, names = encode(labels=labels)
    assert names == (str(2**53), str(2**53 + 1), str(2**63 - 1))
    assert codes["labels"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "f2", "f4", "O", "S1", "U1"])
def test_labels_of_any_type_of_number(dtype):
    codes, names = encode(labels=np.array([3, 0, 3]).astype(dtype))
    assert names == ("0", "3")
    assert codes["labels"].tolist() == [1, 0, 1]


def test_names_that_only_look_like_numbers_stay_names():
    codes, names = encode(labels=["007", "7", "07"])
    assert names == ("007", "07", "7")
    assert codes["labels"].tolist() == [0, 2, 1]
    assert encode(labels=[True, False])[1] == ("False", "True")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["a", "", "b", ""]), ["labels[1]", "2 such rows", "missing"]),
        (np.array(["a", None, "b"], object), ["labels[1]", "missing"]),
        (np.array(["a", float("nan")], object), ["labels[1]", "missing"]),
        (np.array(["a", pandas.NA], object), ["labels[1]", "missing"]),
        (np.array([0, 1, np.nan]), ["labels[2]", "missing"]),
        (np.array([0, 0.5]), ["labels[1]", "0.5", "Regression"]),
        (np.array([0, np.inf]), ["labels[1]", "inf"]),
        (np.array(["0.5", "1.25"]), ["labels[0]", "0.5", "Regression"]),
        (np.array([3, -1, -1]), ["labels[1]", "-1", "2 such rows"]),
        (np.array([["a", "b"]]), ["labels", "(1, 2)"]),
        (np.array([], str), ["labels", "(0,)"]),
        (np.array([1j, 2j]), ["labels", "complex"]),
        (np.array(["0", str(2**63)]), ["labels[1]", str(2**63), "largest class"]),
        (np.array(["0", "1" + "0" * 5000]), ["labels[1]", "largest class"]),
        (np.array([0, 2**63], np.uint64), ["labels[1]", str(2**63), "largest class"]),
        (np.array([0, 2**70], object), ["labels[1]", str(2**70), "largest class"]),
        (np.array([0.0, 2.0**63]), ["labels[1]", "largest class"]),
        (np.array([0, 0.5, 2**70], object), ["labels[1]", "0.5", "Regression"]),
        (np.array([0, float("inf"), 2**70], object), ["labels[1]", "inf", "Regression"]),
    ],
)
def test_labels_that_are_none(labels, words):
    with pytest.raises(UserError) as caught:
        encode(labels=labels)
    for word in words:
        assert word in str(caught.value)


def test_numbers_here_and_names_there():
    with pytest.raises(UserError, match="labels are numbers but val labels are names"):
        class_labels.encode({"labels": np.array([0, 1]), "val labels": np.array(["cat", "dog"])})


def test_given_number_of_classes_leaves_indices_alone():
    codes, names = class_labels.encode({"labels": np.array([0, 3])}, num_classes=4)
    assert names == ("0", "1", "2", "3")
    assert codes["labels"].tolist() == [0, 3]
    with pytest.raises(UserError, match=r"labels\[1\] is 4 .*0 to 3"):
        class_labels.encode({"labels": np.array([0, 4])}, num_classes=4)
    with pytest.raises(UserError, match="2 class names but num_classes is 3"):
        class_labels.encode({"labels": np.array(["a", "b"])}, num_classes=3)
