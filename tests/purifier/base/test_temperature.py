import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.base import scores as selection
from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.posterior import e_step, label_shift, temperature_evidence
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence
from dmlp_jax.purifier.rows.chunks import Chunk


def drawn(probs, rng):
    """A class for each row of probabilities [n, c]."""
    return (probs.cumsum(axis=1) > rng.random((len(probs), 1))).argmax(axis=1)


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 30.0])
def test_temperature_is_recovered(temperature):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 4))
    labels = drawn(softmax(logits), rng)
    found = calibration.fit_temperature(jnp.asarray(temperature * logits, jnp.float32), jnp.eye(4)[labels])
    np.testing.assert_allclose(found, temperature, rtol=0.05)


def test_logits_that_are_all_equal_have_temperature_one():
    assert float(calibration.fit_temperature(jnp.zeros((4, 2)), jnp.eye(2)[jnp.arange(4) % 2])) == 1.0


def test_temperature_is_the_minimum():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(size=(40, 3)), jnp.float32)
    targets = jnp.eye(3)[rng.integers(3, size=40)]
    best = calibration.fit_temperature(logits, targets)
    smooth = calibration.smoothed(targets)
    losses = [selection.cross_entropy(logits / (best * factor), smooth) for factor in (0.8, 1.0, 1.25)]
    assert losses[1] <= min(losses[0], losses[2])


def test_a_perfect_score_on_few_rows_is_not_certainty():
    targets = jnp.eye(3)[jnp.arange(6) % 3]
    perfect = selection.score(targets, targets)
    temperature = calibration.fit_temperature(targets, targets)
    assert perfect.accuracy == 1
    assert perfect.cross_entropy > 0.1
    assert np.isfinite(temperature)
    assert temperature > 0.05


def test_clean_rows_drawn_evenly_calibrate_for_unequal_classes():
    """Predictions are bold where the class is rare: in the population that hardly counts."""
    rng = np.random.default_rng(0)
    count, shares = 200_000, np.asarray([0.9, 0.1])
    true = (rng.random(count) > shares[0]).astype(int)
    logits = np.stack([np.where(true == 0, 3.0, 1.0) + rng.normal(size=count), np.zeros(count)], axis=1)
    population = calibration.fit_temperature(jnp.asarray(logits, jnp.float32), jnp.eye(2)[true])
    even = np.concatenate([np.flatnonzero(true == label)[:10_000] for label in (0, 1)])
    rows = jnp.asarray(logits[even], jnp.float32), jnp.eye(2)[true[even]]
    plain = calibration.fit_temperature(*rows)
    shift = label_shift.log_ratio(rows[1], jnp.asarray(shares, jnp.float32))
    shifted = calibration.fit_temperature(*rows, shift=shift)
    assert abs(np.log(plain / population)) > 0.3
    np.testing.assert_allclose(shifted, population, rtol=0.05)


def test_the_least_of_both_losses_is_found():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(3 * rng.normal(size=(30, 3)), jnp.float32)
    targets = jnp.eye(3)[rng.integers(3, size=30)]
    evidence = TemperatureEvidence(jnp.float32(0.3), jnp.float32(20.0))
    shift = jnp.asarray([0.7, -0.2, -1.5])
    grid = np.linspace(-3, 4, 7001)

    def loss(log_temperature):
        shifted = logits / jnp.exp(log_temperature) + shift
        rows = selection.cross_entropies(shifted, calibration.smoothed(targets))
        return jnp.sum(rows) + 0.5 * evidence.precision * (log_temperature - 0.3) ** 2

    best = grid[np.argmin(jax.vmap(loss)(jnp.asarray(grid, jnp.float32)))]
    found = calibration.fit_temperature(logits, targets, evidence, shift=shift)
    np.testing.assert_allclose(np.log(found), best, atol=0.005)


def test_slopes_are_those_of_the_given_labels_likelihood():
    """By central differences in float64, of a classifier that no label has moved."""
    rng = np.random.default_rng(2)
    features, weights = rng.normal(size=(50, 4)), rng.normal(size=(4, 3))
    matrix, given = rng.dirichlet(np.ones(3), size=3), rng.integers(3, size=50)

    def likelihood(log_temperature, log_rate):
        noise = np.eye(3) + np.exp(log_rate) * (matrix - np.eye(3))
        return np.log(np.sum(softmax(features @ weights / np.exp(log_temperature)) * noise.T[given], axis=1))

    at, step = np.log(0.8), 1e-5
    hotter = likelihood(at + step, 0.0) - likelihood(at - step, 0.0)
    noisier = likelihood(at, step) - likelihood(at, -step)
    slopes = np.stack([hotter, noisier]) / (2 * step)
    ones = np.ones(1)
    head = LabelModel(weights[None], matrix[None], 0 * ones, 0 * ones, np.exp(at) * ones)
    chunk = Chunk(features, np.eye(3)[given], np.ones(50))
    head, chunk = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (head, chunk))
    sums = e_step.sums(head, chunk)
    np.testing.assert_allclose(sums.slopes[0], slopes.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(sums.curvature[0], slopes @ slopes.T, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_given_labels_find_the_temperature_that_drew_them(factor):
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(20_000, 4))
    matrix = 0.6 * np.eye(4) + 0.1
    given = drawn(matrix[drawn(softmax(logits), rng)], rng)
    chunk = Chunk(jnp.asarray(factor * logits, jnp.float32), jnp.eye(4)[given], jnp.ones(len(given)))
    noise, none, temperature = jnp.asarray(matrix, jnp.float32)[None], jnp.zeros(1), jnp.float32(1)
    for _ in range(8):
        head = LabelModel(jnp.eye(4)[None], noise, none, none, temperature[None])
        sums = e_step.sums(head, chunk)
        evidence = temperature_evidence.evidence_of_rows(temperature, sums.slopes[0], sums.curvature[0])
        temperature = jnp.exp(evidence.log_temperature)
    np.testing.assert_allclose(temperature, factor, rtol=0.06)
    correlation = sums.curvature[0, 0, 1] / jnp.sqrt(sums.curvature[0, 0, 0] * sums.curvature[0, 1, 1])
    np.testing.assert_allclose(
        evidence.precision, (1 - correlation**2) / temperature_evidence.SPREAD**2, rtol=0.05
    )
    np.testing.assert_allclose(label_shift.class_shares(sums.counts[0]), 0.25, atol=0.01)


def test_a_noise_rate_that_is_off_does_not_mislead_the_temperature():
    rng = np.random.default_rng(5)
    logits = 2 * rng.normal(size=(200_000, 4))
    given = drawn((0.4 * np.eye(4) + 0.15)[drawn(softmax(logits), rng)], rng)
    chunk = Chunk(jnp.asarray(logits, jnp.float32), jnp.eye(4)[given], jnp.ones(len(given)))
    noisier, ones = 0.36 * jnp.eye(4) + 0.16, jnp.ones(1)
    sums = e_step.sums(LabelModel(jnp.eye(4)[None], noisier[None], 0 * ones, 0 * ones, ones), chunk)
    slopes, curvature = sums.slopes[0], sums.curvature[0]
    evidence = temperature_evidence.evidence_of_rows(ones[0], slopes, curvature)
    assert slopes[0] / curvature[0, 0] < -0.1
    assert abs(evidence.log_temperature) < 0.03
    assert evidence.precision < 0.5 / temperature_evidence.SPREAD**2


def test_labels_that_say_nothing_are_no_evidence():
    evidence = temperature_evidence.evidence_of_rows(jnp.float32(2), jnp.zeros(2), jnp.zeros((2, 2)))
    assert evidence.precision < 1e-30
    np.testing.assert_allclose(evidence.log_temperature, np.log(2), rtol=1e-6)
