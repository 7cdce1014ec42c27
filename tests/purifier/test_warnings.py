"""Sentences about the arguments: which numbers make them, and that results bring them along."""

import jax
import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.purifier import warnings
from tests.conftest import SHORT, make_blobs


def test_no_numbers_no_warnings():
    assert warnings.sentences({}) == ()


@pytest.mark.parametrize(
    ("rows", "names", "start"),
    [
        ([5, 2, 9], None, "Class 1 of 3 has fewer than 3 clean rows"),
        ([1, 2, 9], None, "Classes 0, 1 of 3 have fewer than 3 clean rows"),
        ([1, 2, 9], ("cat", "dog", "eel"), "Classes cat, dog of 3 have"),
        ([1] * 30, None, "Classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... of 30 have"),
    ],
)
def test_classes_of_few_clean_rows_are_named(rows, names, start):
    (found,) = warnings.sentences({"clean_class_rows": np.array(rows)}, names)
    assert found.startswith(start)


def test_outliers_are_counted():
    numbers = {"outlier_rows": 2, "outlier_values": 17, "outlier_clean_rows": 1}
    (found,) = warnings.sentences(numbers)
    assert found.startswith("2 training rows (17 values) and 1 clean row hold numbers far beyond all others")
    assert warnings.sentences(dict.fromkeys(numbers, 0)) == ()


@pytest.mark.parametrize(
    ("clean", "told"), [(10.0, ""), (20.0, "10 times larger"), (0.3, ""), (0.1, "20 times smaller"), (0, "")]
)
def test_another_scale_is_told(clean, told):
    found = warnings.sentences({"train_length": 2.0, "clean_length": clean})
    assert len(found) == bool(told)
    assert not told or told in found[0]


def test_results_bring_their_warnings():
    features, given, (val_features, val_labels), _ = make_blobs(0)
    # The last one says that no labels before review were given, see test_review_warnings.py.
    assert purify(features, given, (val_features, val_labels), config=SHORT).warnings[:-1] == ()
    # All shapes are as before, so one program serves.
    wrong = val_labels.copy()
    wrong[[4, 10, 17]] = (wrong[[4, 10, 17]] + 1) % 3
    found = purify(features, given, (val_features, wrong), config=SHORT).warnings[:-1]
    assert len(found) == 1
    assert "4, 10, 17" in found[0]
    found = purify(features, given, (val_features + 5, val_labels), config=SHORT).warnings[:-1]
    assert len(found) == 1
    assert "X_val" in found[0]


@pytest.mark.slow
def test_warnings_of_a_batch_are_those_of_its_members():
    features, given, (val_features, val_labels), _ = make_blobs(0)
    clean = np.stack([val_features, val_features + 5])
    batch = jax.vmap(lambda x: purify(features, given, (x, val_labels), num_classes=3, config=SHORT))(clean)
    found = [jax.tree.map(lambda leaf, i=i: leaf[i], batch).warnings for i in range(2)]
    assert [len(texts) for texts in found] == [1, 2]
