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


def naive(rows, labels):
    """The same from all distances in float64: sets by repeated merging, outliers by the formula."""
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    centred = rows[first].astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    distance = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    near = distance <= 0.13 * np.median(distance.min(axis=1))
    sets = np.arange(len(first))
    for _ in sets:
        sets = np.minimum(sets, np.where(near, sets[None], len(sets)).min(axis=1))
    logs = np.log(np.sort(distance, axis=1)[:, :10].mean(axis=1))
    middle = np.median(logs)
    outlier = 0.6745 * (logs - middle) / np.median(np.abs(logs - middle)) > 3.5
    sets = sets[number]
    several = np.bincount(sets)[sets] > 1
    differ = np.array([len(set(labels[sets == one])) > 1 for one in sets])
    return several, sets, differ, outlier[number]


@pytest.mark.parametrize("doubled", [False, True])
def test_everything_is_as_computed_from_all_distances(rows, doubled):
    rng = np.random.default_rng(2)
    rows[20:40] = rows[40:60] + 1e-3 * rng.normal(size=(20, 12)).astype(np.float32)
    rows[60:63] = rows[63]
    # One row that points where no other does.
    wide = np.concatenate([rows, np.zeros((200, 1), np.float32)], axis=1)
    wide[9] = 0
    wide[9, 12] = 5
    labels = rng.integers(2, size=200)
    if doubled:
        wide, labels = np.concatenate([wide, wide]), np.concatenate([labels, labels])
    found = row_checks.check(wide, labels)
    several, sets, differ, outlier = naive(wide, labels)
    np.testing.assert_array_equal(found.duplicate_set >= 0, several)
    same = found.duplicate_set[:, None] == found.duplicate_set[None]
    np.testing.assert_array_equal(
        same[several][:, several], (sets[:, None] == sets[None])[several][:, several]
    )
    np.testing.assert_array_equal(found.labels_differ, differ)
    np.testing.assert_array_equal(found.outlier, outlier)
    assert found.outlier[9]


def test_equal_rows_alone(rows, tmp_path):
    rows[5] = rows[90]
    rows[7] = rows[8] + 1e-3
    rows[10, 0], rows[11] = 0.0, rows[10]
    rows[11, 0] = -0.0
    labels = np.arange(200) % 4
    np.save(tmp_path / "rows.npy", rows.astype(np.float64))
    on_disk = np.load(tmp_path / "rows.npy", mmap_mode="r")
    found = row_checks.check_equal(on_disk, labels, rows[[3]])
    assert list(np.flatnonzero(found.duplicate_set >= 0)) == [5, 10, 11, 90]
    assert found.duplicate_set[5] == found.duplicate_set[90] != found.duplicate_set[10]
    assert list(np.flatnonzero(found.labels_differ)) == [5, 10, 11, 90]
    assert list(np.flatnonzero(found.clean_copy)) == [3]
    assert found.outlier is None
    assert list(np.flatnonzero(found.exact)) == [5, 10, 11, 90]


def test_rows_that_are_all_equal():
    found = row_checks.check(np.ones((5, 3)), np.array([0, 0, 0, 1, 0]), np.ones((1, 3)))
    assert list(found.duplicate_set) == [0] * 5
    assert found.labels_differ.all()
    assert found.clean_copy.all()
    assert not found.outlier.any()
