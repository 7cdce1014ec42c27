import jax
import numpy as np
import pytest

from dmlp_jax.retrain import neighbours
from dmlp_jax.training import inference

DEVICES = jax.local_devices()[:1]


def problem(rows=23, width=5, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)).astype(np.float32), rng.dirichlet(np.ones(classes), size=rows)


def expected(features, labels, count, temperature=None, own=False):
    """Row by row in float64, by sorting."""
    unit = np.float64(features) / np.linalg.norm(np.float64(features), axis=1, keepdims=True)
    shares = []
    for number, row in enumerate(unit):
        similarities = unit @ row
        order = [other for other in np.argsort(-similarities) if own or other != number][:count]
        weights = np.ones(len(order)) if temperature is None else np.exp(similarities[order] / temperature)
        shares.append(weights @ labels[order] / weights.sum())
    return np.array(shares)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("temperature", [None, 0.1])
def test_shares_are_those_of_the_nearest_by_cosine(own, temperature, monkeypatch):
    monkeypatch.setattr(inference, "BATCH", 8)
    features, labels = problem()
    votes = neighbours.voter(23, 6, DEVICES, temperature=temperature, own=own)
    found = votes(features, labels)
    np.testing.assert_allclose(found, expected(features, labels, 6, temperature, own), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    # The same vote, of other features and of other labels.
    other, hard = 3 * problem(seed=1)[0], np.eye(4)[np.arange(23) % 4]
    np.testing.assert_allclose(
        votes(other, hard), expected(other, hard, 6, temperature, own), rtol=1e-5, atol=1e-6
    )


def test_a_row_votes_for_itself_only_where_it_is_told_to():
    features, labels = problem()
    features[7] = features[3]
    own = neighbours.voter(23, 1, DEVICES, own=True)(features, labels)
    np.testing.assert_allclose(np.delete(own, (3, 7), axis=0), np.delete(labels, (3, 7), axis=0), rtol=1e-6)
    others = neighbours.voter(23, 1, DEVICES)(features, labels)
    np.testing.assert_allclose(others[[3, 7]], labels[[7, 3]], rtol=1e-6)
    assert np.all(np.abs(others - labels).max(axis=1) > 1e-3)


@pytest.mark.parametrize(("own", "voters"), [(True, 3), (False, 2)])
def test_more_neighbours_than_rows_are_all_rows(own, voters):
    features, labels = problem(rows=3)
    found = neighbours.voter(3, 50, DEVICES, own=own)(features, labels)
    np.testing.assert_allclose(found, expected(features, labels, voters, own=own), rtol=1e-5)


def test_memory_is_bounded_where_there_are_many_rows(monkeypatch):
    sizes = []
    over_rows = inference.over_rows
    monkeypatch.setattr(neighbours, "_HELD", 100)
    monkeypatch.setattr(inference, "over_rows", lambda *a: sizes.append(a[-1]) or over_rows(*a))
    features, labels = problem()
    found = neighbours.voter(23, 4, DEVICES)(features, labels)
    assert sizes == [4]
    np.testing.assert_allclose(found, expected(features, labels, 4), rtol=1e-5, atol=1e-6)
