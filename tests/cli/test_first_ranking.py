"""The ranking without clean rows: leave-one-out ridge regression against its definition."""

import numpy as np
import pytest

from dmlp_jax.cli import first_ranking
from tests.conftest import make_blobs

FEATURES, GIVEN, _, TRUE = make_blobs(0)


def left_out_by_hand(features, labels, num_classes, penalty):
    """Scores of each row by a regression on all but its copies, centre and penalty of all, float64."""
    count = len(labels)
    shares = np.bincount(labels, minlength=num_classes) / count
    rows = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    targets = np.eye(num_classes)[labels] - shares
    ridge = penalty * np.trace(rows.T @ rows) / rows.shape[1] * np.eye(rows.shape[1])
    scores = np.empty((count, num_classes))
    for row in range(count):
        others = (features != features[row]).any(axis=1)
        x, y = rows[others], targets[others]
        scores[row] = rows[row] @ np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return scores, targets, shares


@pytest.mark.parametrize("copies", [0, 20])
def test_scores_are_those_of_regressions_without_the_row(copies):
    rows = np.random.default_rng(0).choice(len(GIVEN), 80, replace=False)
    # Some copies have the label of the row, others another one; one row is there three times.
    rows[80 - copies :] = rows[:copies]
    if copies:
        rows[40] = rows[3]
    features, labels = FEATURES[rows], GIVEN[rows].copy()
    labels[75:] = (labels[75:] + 1) % 3 if copies else labels[75:]
    tried = [left_out_by_hand(features, labels, 3, penalty) for penalty in first_ranking.PENALTIES]
    scores, _, shares = min(tried, key=lambda found: np.sum((found[0] - found[1]) ** 2))
    expected = np.exp(first_ranking.SHARPNESS * (scores + shares) / (3 * shares))
    expected /= expected.sum(axis=1, keepdims=True)
    found = first_ranking.rank(features, labels, 3)
    np.testing.assert_allclose(found.probs, expected, atol=1e-5)
    np.testing.assert_array_equal(found.quality, found.probs[np.arange(80), labels])


def test_wrong_labels_come_first():
    found = first_ranking.rank(FEATURES, GIVEN, 3)
    wrong = GIVEN != TRUE
    first = np.argsort(found.quality)[: wrong.sum()]
    assert wrong[first].mean() > 0.9
    np.testing.assert_allclose(found.probs.sum(axis=1), 1, atol=1e-5)


def test_a_table_with_every_row_twice_is_ranked_as_the_rows_once():
    """Else each row would find its own label in its copy, right or wrong."""
    rng = np.random.default_rng(0)
    # Nothing can be known of such labels.
    features, labels = rng.normal(size=(150, 60)).astype(np.float32), rng.integers(3, size=150)
    once = first_ranking.rank(features, labels, 3)
    twice = first_ranking.rank(np.concatenate([features, features]), np.concatenate([labels, labels]), 3)
    np.testing.assert_allclose(twice.probs, np.concatenate([once.probs, once.probs]), atol=1e-5)
    assert np.mean(twice.probs.argmax(axis=1) == np.concatenate([labels, labels])) < 0.5


def test_chunks_and_memory_maps_change_nothing(tmp_path, monkeypatch):
    whole = first_ranking.rank(FEATURES, GIVEN, 3).probs
    np.save(tmp_path / "f.npy", FEATURES)
    monkeypatch.setattr(first_ranking, "_CHUNK", 37)
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r", allow_pickle=False)
    np.testing.assert_allclose(first_ranking.rank(mapped, GIVEN, 3).probs, whole, atol=1e-6)


def test_scale_and_shift_of_the_features_change_nothing():
    whole = first_ranking.rank(FEATURES, GIVEN, 3).probs
    np.testing.assert_allclose(first_ranking.rank(1000 * FEATURES + 7, GIVEN, 3).probs, whole, atol=1e-4)


@pytest.mark.parametrize("features", [np.zeros((6, 2)), np.eye(6)], ids=["equal rows", "a feature for each"])
def test_rows_that_say_nothing_about_each_other_have_finite_scores(features):
    found = first_ranking.rank(features.astype(np.float32), np.array([0, 1, 2, 0, 1, 2]), 3)
    assert np.isfinite(found.probs).all()
