import jax
import numpy as np
import pytest

from dmlp_jax.retrain import neighbours
from dmlp_jax.retrain.methods import agreement


def clusters(seed=0, rows=60, classes=3):
    """Unit rows in overlapping clusters, and labels of which a third are drawn anew."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=rows)
    points = np.eye(4)[true] + 0.5 * rng.normal(size=(rows, 4))
    labels = np.where(rng.random(rows) < 1 / 3, rng.integers(classes, size=rows), true)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def votes(points, labels, count, classes):
    found = np.zeros((len(points), classes))
    for number, point in enumerate(np.float64(points)):
        scores = np.float64(points) @ point
        scores[number] = -np.inf
        for near in np.argsort(-scores)[:count]:
            found[number, labels[near]] += 1 / count
    return found


@pytest.mark.parametrize("quantile", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_are_selected_by_two_votes(seed, quantile):
    points, labels = clusters(seed)
    vote = neighbours.voter(60, 7, jax.local_devices()[:1])
    found = agreement.select(points, labels, 3, vote, quantile)

    shares = votes(points, votes(points, labels, 7, 3).argmax(axis=1), 7, 3)
    agreeing = [np.sum((shares.argmax(axis=1) == labels)[labels == label]) for label in range(3)]
    below, above = sorted(agreeing)[int(quantile * 2)], sorted(agreeing)[int(np.ceil(quantile * 2))]
    count = int(below + (above - below) * (2 * quantile % 1))
    cost = -np.log(shares[np.arange(60), labels].clip(0.01, 0.99))
    for label in range(3):
        members = np.flatnonzero(labels == label)
        assert found[members].sum() == min(count, len(members))
        # Rows of equal cost may be taken in any order.
        np.testing.assert_allclose(
            np.sort(cost[members][found[members]]), np.sort(cost[members])[:count], rtol=1e-6
        )


def test_every_class_gives_a_row_even_if_no_label_agrees():
    points, _ = clusters()
    labels = np.arange(60) % 3
    found = agreement.select(points, labels, 3, lambda *_: np.roll(np.eye(3)[labels], 1, axis=1), 0.5)
    np.testing.assert_array_equal(np.bincount(labels[found]), [1, 1, 1])
