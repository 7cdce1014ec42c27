import numpy as np
import pytest
from scipy import stats

from dmlp_jax.retrain.methods import beta_mixture


def overlapping(rows=600, seed=0):
    """Small losses of right labels and large ones of wrong labels, not all of which are told apart."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.gamma(1.2, 0.15, rows // 2), rng.gamma(6, 0.5, rows - rows // 2)])


def reference(losses):
    """Losses at 0 and 1 and the posterior on the grid, by the authors' rules with SciPy's densities."""
    low, high = np.percentile(losses, 5), np.percentile(losses, 95)
    kept = losses[(losses >= low) & (losses <= high)]
    low += 1e-5
    values = (kept - low) / (high - low + 1e-6)
    values[values >= 1] = 1 - 1e-3
    values[values <= 0] = 1e-3
    values = values.clip(1e-4, 1 - 1e-4)
    shapes, weights = [(1.0, 2.0), (2.0, 1.0)], [0.5, 0.5]
    for _ in range(10):
        joint = [w * stats.beta.pdf(values, *shape) for w, shape in zip(weights, shapes, strict=True)]
        joint = np.maximum(joint, 1e-12)
        shares = joint / joint.sum(axis=0)
        shapes = []
        for share in shares:
            mean = np.average(values, weights=share)
            variance = np.average((values - mean) ** 2, weights=share)
            a = mean * (mean * (1 - mean) / variance - 1)
            shapes.append((a, a * (1 - mean) / mean))
        weights = shares.sum(axis=1) / len(values)
    grid = np.linspace(1e-12, 1 - 1e-12, 100)
    first, second = (w * stats.beta.pdf(grid, *shape) for w, shape in zip(weights, shapes, strict=True))
    wrong = second / (first + second + 1e-12)
    wrong[wrong.argmax() :] = wrong.max()
    return low, high, wrong


@pytest.mark.parametrize("seed", [0, 1])
def test_mixture_is_that_of_the_authors_rules(seed):
    losses = overlapping(seed=seed)
    low, high, wrong = reference(losses)
    found = beta_mixture.fit(losses)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-6)
    np.testing.assert_allclose(found.wrong, wrong, atol=1e-6)
    assert found.wrong.dtype == np.float32
    assert (np.diff(wrong[wrong.argmax() :]) == 0).all()


def test_probability_is_read_off_the_grid():
    losses = overlapping().astype(np.float32)
    low, high, wrong = reference(np.float64(losses))
    scaled = (losses - low) / (high - low + 1e-6)
    place = np.floor(100 * scaled.clip(0, 0.999)).astype(int)
    found = beta_mixture.wrong_probability(beta_mixture.fit(losses), losses)
    near = np.abs(100 * scaled - np.round(100 * scaled)) < 1e-3
    np.testing.assert_allclose(found[~near], wrong[place].clip(1e-4, 1 - 1e-4)[~near], atol=1e-5)
    assert found.min() >= np.float32(1e-4)
    assert found.max() <= np.float32(1 - 1e-4)


def test_small_and_large_losses_far_apart_are_told_apart():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.gamma(2, 0.02, 200), rng.normal(3.0, 0.3, 200)])
    wrong = beta_mixture.wrong_probability(beta_mixture.fit(losses), np.float32(losses))
    assert np.all(wrong[:200] < 0.02)
    assert np.mean(wrong[200:] > 0.9) > 0.95


@pytest.mark.parametrize("losses", [np.full(50, 0.7), np.zeros(3), np.array([0.4])])
def test_no_label_is_wrong_where_all_losses_are_equal(losses):
    found = beta_mixture.wrong_probability(beta_mixture.fit(losses), np.float32(losses))
    np.testing.assert_allclose(found, 1e-4, rtol=1e-6)


def test_few_different_losses_give_probabilities():
    losses = np.array([0.1, 0.1, 0.1, 2.0, 2.0, 0.1])
    assert np.isfinite(beta_mixture.fit(losses).wrong).all()
