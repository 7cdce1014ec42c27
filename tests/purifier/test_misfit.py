import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier import misfit
from dmlp_jax.purifier.calibration import Evidence


def clean_rows(count, sure, seed=0):
    """Predictions of clean rows and their true classes; one in ten is as sure as the others, and wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=count)
    said = np.where(np.arange(count) % 10 == 0, (true + 1) % 3, true)
    probs = np.full((count, 3), (1 - sure) / 2)
    probs[np.arange(count), said] = sure
    return probs, np.eye(3)[true]


def noise_rate(matrix):
    return float(1 - np.trace(matrix) / len(matrix))


def uniform_noise(rate):
    return (1 - rate) * np.eye(3) + rate / 2 * (1 - np.eye(3))


def rates(matrix, probs, targets):
    arrays = (jnp.asarray(values, jnp.float32) for values in (matrix, probs, targets, np.zeros(3)))
    found = misfit.rates(*arrays)
    return float(found.rate), float(found.margin)


@pytest.mark.parametrize("count", [100, 10_000])
def test_rates_are_the_likeliest_and_the_limit(count):
    """By brute force over a grid in float64; with few rows the limit is further than caution goes."""
    probs, targets = clean_rows(count, 0.99)
    matrix = uniform_noise(0.3)
    grid = np.linspace(0, 1, 100_001)
    right = (probs * targets).sum(axis=1)
    other = ((probs @ (matrix * (1 - np.eye(3)) / 0.3)) * targets).sum(axis=1)
    values, counts = np.unique(np.stack([right, other]).round(9), axis=1, return_counts=True)
    mixed = (1 - grid) * values[0][:, None] + grid * values[1][:, None]
    likelihood = (counts[:, None] * np.log(mixed)).sum(0)
    limit = grid[likelihood > likelihood.max() - 1.353].max()
    likeliest = grid[likelihood.argmax()]
    assert (limit - likeliest > misfit.CAUTION) == (count == 100)
    wanted = likeliest, min(limit - likeliest, misfit.CAUTION)
    np.testing.assert_allclose(rates(matrix, probs, targets), wanted, atol=2e-4)


def test_noise_no_greater_than_in_clean_rows_is_none():
    probs, targets = clean_rows(1000, 0.99)
    matrix = uniform_noise(0.09)
    found = misfit.without(jnp.asarray(matrix, jnp.float32), rates(matrix, probs, targets)[0])
    np.testing.assert_allclose(found, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("count", [30, 10_000])
def test_calibrated_predictions_leave_the_noise_to_the_labels(count):
    probs, targets = clean_rows(count, 0.9)
    likeliest, margin = rates(uniform_noise(0.12), probs, targets)
    assert likeliest < 1e-3
    assert margin == pytest.approx(misfit.CAUTION if count == 30 else 0.006, abs=2e-3)


def test_confusion_makes_predictions_as_sure_as_they_are_right():
    probs, targets = clean_rows(1000, 0.999)
    matrix = uniform_noise(0.4)
    confusion = misfit.confusion(jnp.asarray(matrix, jnp.float32), rates(matrix, probs, targets)[0])
    mended = probs @ np.asarray(confusion)
    np.testing.assert_allclose(mended.max(axis=1), 0.9, atol=2e-3)
    np.testing.assert_allclose(mended.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 50])
@pytest.mark.parametrize("rate", [0.1, 0.45])
def test_noise_after_confusion_is_the_noise_that_was_found(classes, rate):
    """T = S T', whatever share of the noise is none."""
    off = 1 - np.eye(classes)
    matrix = jnp.asarray((1 - rate) * np.eye(classes) + rate / (classes - 1) * off, jnp.float32)
    for share in (0.0, 0.3, 0.9):
        confusion, rest = misfit.confusion(matrix, share * rate), misfit.without(matrix, share * rate)
        np.testing.assert_allclose(confusion @ rest, matrix, atol=2e-6)
        np.testing.assert_allclose(noise_rate(confusion), share * rate, atol=1e-5)


@pytest.mark.parametrize("rate", [1e-9, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_matrices_of_any_noise_are_distributions(rate, share):
    """Also where T is no better than chance, or worse, and nothing can be told apart."""
    matrix = jnp.asarray([[1 - rate, rate], [rate, 1 - rate]], jnp.float32)
    for found in (misfit.confusion(matrix, min(share, 1.0) * rate), misfit.without(matrix, share * rate)):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert np.all((np.asarray(found) > 0) & np.isfinite(found))


def test_unequal_noise_keeps_its_pattern():
    matrix = jnp.asarray([[0.8, 0.15, 0.05], [0.0, 1.0, 0.0], [0.05, 0.05, 0.9]], jnp.float32)
    rest = np.asarray(misfit.without(matrix, 0.05))
    noise, left = (np.asarray(found) * (1 - np.eye(3)) for found in (matrix, rest))
    kept = left[0, 1] / noise[0, 1]
    assert 0.4 < kept < 0.6
    np.testing.assert_allclose(left, kept * noise, atol=1e-5)


def test_much_noise_of_one_kind_is_the_labels():
    """Of the second class's labels 4 in 10 are given as the third; the rest is noise of any kind."""
    matrix = 0.9 * np.eye(4) + 0.1 / 3 * (1 - np.eye(4))
    matrix[1] = [0.01, 0.58, 0.4, 0.01]
    matrix = jnp.asarray(matrix, jnp.float32)
    confusion, rest = misfit.confusion(matrix, 0.05), misfit.without(matrix, 0.05)
    np.testing.assert_allclose(confusion[1], np.eye(4)[1], atol=1e-5)
    np.testing.assert_allclose(rest[1], matrix[1], atol=1e-5)
    assert float(confusion[0, 0]) < 0.95
    assert float(rest[0, 0]) > 0.95
    # Where in doubt, it is taken off like any other.
    assert float(misfit.cautious(matrix, 0.02)[1, 1]) > 0.58


@pytest.mark.parametrize("shifted", [False, True])
def test_temperature_and_confusion_are_found_together(shifted):
    """Rows drawn from the model; logits half as large again as they should be."""
    rng = np.random.default_rng(0)
    logits, matrix = rng.normal(size=(40_000, 3)) * 3, jnp.asarray(uniform_noise(0.3), jnp.float32)
    shift = np.array([0.7, 0.0, -0.7]) * shifted
    scores = np.exp(logits)
    probs = scores / scores.sum(axis=1, keepdims=True) @ uniform_noise(0.1) * np.exp(shift)
    probs /= probs.sum(axis=1, keepdims=True)
    drawn = (probs.cumsum(axis=1) > rng.random((len(probs), 1))).argmax(axis=1)
    nothing = Evidence(jnp.float32(0), jnp.float32(0), jnp.full(3, 1 / 3))
    targets = jnp.eye(3)[drawn]
    found = misfit.fit(
        matrix, jnp.asarray(1.5 * logits, jnp.float32), targets, nothing, jnp.asarray(shift, jnp.float32)
    )
    np.testing.assert_allclose(found.temperature, 1.5, rtol=0.1)
    np.testing.assert_allclose(noise_rate(found.confusion), 0.1, atol=0.02)
    np.testing.assert_allclose(jax.nn.softmax(found.logits), probs, atol=0.03)
    np.testing.assert_allclose(found.confusion @ found.transition, matrix, atol=1e-5)


def test_caution_takes_off_what_is_in_doubt():
    for rate, left in ((0.2, 0.2 - 0.02**2 / 0.2), (0.04, 0.03), (0.02, 0.0), (0.01, 0.0)):
        found = misfit.cautious(jnp.asarray(uniform_noise(rate), jnp.float32), 0.02)
        np.testing.assert_allclose(noise_rate(found), left, rtol=0.03, atol=1e-5)
