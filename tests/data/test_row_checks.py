import numpy as np
import pytest

from dmlp_jax.data import row_checks


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 12)).astype(np.float32) + 3 * np.eye(4, 12)[np.arange(200) % 4].astype(
        np.float32
    )


def test_single_rows_are_left_alone(rows):
    found = row_checks.check(rows, np.arange(200) % 4, rows[:0])
    assert np.all(found.duplicate_set == -1)
    for flags in (found.exact, found.labels_differ, found.clean_copy):
        assert not flags.any()
    assert found.outlier.mean() < 0.02


def test_duplicates_and_their_labels(rows):
    labels = np.zeros(200, int)
    rows[5] = rows[90]
    rows[7] = rows[8] + 1e-3
    # More equal rows than neighbours that are looked at.
    rows[100:130] = rows[100]
    labels[7] = 1
    found = row_checks.check(rows, labels)
    assert found.duplicate_set[5] == found.duplicate_set[90] >= 0
    assert found.duplicate_set[7] == found.duplicate_set[8] >= 0
    assert len(set(found.duplicate_set[100:130])) == 1
    assert len(set(found.duplicate_set)) == 4
    assert list(np.flatnonzero(found.labels_differ)) == [7, 8]
    assert set(np.flatnonzero(found.exact)) == {5, 90, *range(100, 130)}


def test_copies_of_clean_rows_and_outliers(rows):
    rng = np.random.default_rng(1)
    clean = np.concatenate([rng.normal(size=(10, 12)), rows[[3, 4]]])
    # All others lie in the first of 12 more columns' halves; this one alone in the second.
    wide = np.concatenate([rows, np.zeros_like(rows)], axis=1)
    wide[50] = np.roll(wide[50], 12)
    found = row_checks.check(wide, np.zeros(200, int), np.concatenate([clean, np.zeros_like(clean)], axis=1))
    assert list(np.flatnonzero(found.clean_copy)) == [3, 4]
    assert found.outlier[50]
    assert found.outlier.sum() < 5
