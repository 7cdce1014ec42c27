"""Nearest rows by brute force, against scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from dmlp_jax.data import neighbours


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def oracle(rows, count, others=None):
    """In float64."""
    found = NearestNeighbors(n_neighbors=count, algorithm="brute")
    found.fit((rows if others is None else others).astype(np.float64))
    return found.kneighbors(None if others is None else rows.astype(np.float64))


@pytest.mark.parametrize(
    ("rows", "count"), [(2, 1), (11, 10), (40, 10), (319, 10), (320, 2), (1_500, 10), (5_000, 3)]
)
def test_neighbours_are_scikit_learns(rows, count):
    values = unit(np.random.default_rng(rows).normal(size=(rows, 6)))
    distances, numbers = neighbours.nearest(values, count)
    wanted, places = oracle(values, count)
    np.testing.assert_allclose(distances, wanted, atol=1e-6)
    assert np.mean(numbers == places) > 0.999


@pytest.mark.parametrize("others", [1, 3, 2_000])
def test_neighbours_among_other_rows(others):
    rng = np.random.default_rng(0)
    values, targets = unit(rng.normal(size=(700, 5))), unit(rng.normal(size=(others, 5)))
    distances, numbers = neighbours.nearest(values, 1, targets)
    wanted, places = oracle(values, 1, targets)
    np.testing.assert_allclose(distances, wanted, atol=1e-6)
    assert np.mean(numbers == places) > 0.999


def test_small_blocks_give_the_same(monkeypatch):
    values = unit(np.random.default_rng(0).normal(size=(3_000, 8)))
    whole = neighbours.nearest(values, 4)
    monkeypatch.setattr(neighbours, "COLUMNS", 512)
    monkeypatch.setattr(neighbours, "ROWS", 100)
    np.testing.assert_array_equal(neighbours.nearest(values, 4)[1], whole[1])


def test_equal_rows_have_no_distance_and_rows_of_any_length_are_compared():
    values = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32) * 30
    values[::2] = values[1::2]
    distances, numbers = neighbours.nearest(values, 1)
    assert not distances.any()
    np.testing.assert_array_equal(numbers[:, 0], np.arange(600) ^ 1)


def test_an_error_in_a_block_is_raised(monkeypatch):
    monkeypatch.setattr(neighbours, "_largest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        neighbours.nearest(np.eye(5, dtype=np.float32), 1)
