import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import purify
from dmlp_jax.purifier import calibration, posterior, selection
from dmlp_jax.purifier.calibration import Evidence
from dmlp_jax.purifier.posterior import Head
from dmlp_jax.purifier.rows import Chunk

programs = importlib.import_module("dmlp_jax.purifier.purify")


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


def test_weights_restore_the_shares_of_the_classes():
    targets = jnp.eye(2)[jnp.asarray([0] * 600 + [1] * 200)]
    weights = calibration.row_weights(targets, jnp.asarray([0.5, 0.5]))
    np.testing.assert_allclose(weights[-1] / weights[0], 3.0, rtol=0.03)
    relative = np.asarray([2 / 3] * 600 + [2.0] * 200)
    np.testing.assert_allclose(jnp.sum(weights), relative.sum() ** 2 / (relative**2).sum(), rtol=0.01)


def test_clean_rows_that_may_be_a_random_draw_count_alike():
    rng = np.random.default_rng(4)
    shares, weights = np.asarray([0.5, 0.3, 0.15, 0.05]), []
    for _ in range(40):
        targets = jnp.eye(4)[rng.choice(4, size=60, p=shares)]
        weights.append(calibration.row_weights(targets, jnp.asarray(shares, jnp.float32)))
    spread = np.asarray([np.std(each) for each in weights])
    assert np.median(spread) == 0
    np.testing.assert_allclose(weights[int(np.argmin(spread))], 1.0, rtol=1e-6)


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
    nothing = Evidence(jnp.float32(0), jnp.float32(0), jnp.asarray(shares, jnp.float32))
    weighted = calibration.fit_temperature(*rows, nothing)
    assert abs(np.log(plain / population)) > 0.3
    np.testing.assert_allclose(weighted, population, rtol=0.05)


def test_the_least_of_both_losses_is_found():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(3 * rng.normal(size=(30, 3)), jnp.float32)
    targets = jnp.eye(3)[rng.integers(3, size=30)]
    evidence = Evidence(jnp.float32(0.3), jnp.float32(20.0), jnp.asarray([0.5, 0.3, 0.2]))
    weights = calibration.row_weights(targets, evidence.shares)
    grid = np.linspace(-3, 4, 7001)

    def loss(log_temperature):
        rows = selection.cross_entropies(logits / jnp.exp(log_temperature), calibration.smoothed(targets))
        return jnp.sum(weights * rows) + 0.5 * evidence.precision * (log_temperature - 0.3) ** 2

    best = grid[np.argmin(jax.vmap(loss)(jnp.asarray(grid, jnp.float32)))]
    found = calibration.fit_temperature(logits, targets, evidence)
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
    head = Head(weights[None], matrix[None], 0 * ones, 0 * ones, np.exp(at) * ones, None)
    chunk = Chunk(features, np.eye(3)[given], np.ones(50))
    head, chunk = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (head, chunk))
    sums = posterior.sums(head, chunk)
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
        head = Head(jnp.eye(4)[None], noise, none, none, temperature[None], None)
        sums = posterior.sums(head, chunk)
        evidence = calibration.of_training_rows(
            temperature, sums.slopes[0], sums.curvature[0], sums.counts[0]
        )
        temperature = jnp.exp(evidence.log_temperature)
    np.testing.assert_allclose(temperature, factor, rtol=0.06)
    correlation = sums.curvature[0, 0, 1] / jnp.sqrt(sums.curvature[0, 0, 0] * sums.curvature[0, 1, 1])
    np.testing.assert_allclose(evidence.precision, (1 - correlation**2) / calibration.SPREAD**2, rtol=0.05)
    np.testing.assert_allclose(evidence.shares, 0.25, atol=0.01)


def test_a_noise_rate_that_is_off_does_not_mislead_the_temperature():
    rng = np.random.default_rng(5)
    logits = 2 * rng.normal(size=(200_000, 4))
    given = drawn((0.4 * np.eye(4) + 0.15)[drawn(softmax(logits), rng)], rng)
    chunk = Chunk(jnp.asarray(logits, jnp.float32), jnp.eye(4)[given], jnp.ones(len(given)))
    noisier, ones = 0.36 * jnp.eye(4) + 0.16, jnp.ones(1)
    sums = posterior.sums(Head(jnp.eye(4)[None], noisier[None], 0 * ones, 0 * ones, ones, None), chunk)
    slopes, curvature = sums.slopes[0], sums.curvature[0]
    evidence = calibration.of_training_rows(ones[0], slopes, curvature, sums.counts[0])
    assert slopes[0] / curvature[0, 0] < -0.1
    assert abs(evidence.log_temperature) < 0.03
    assert evidence.precision < 0.5 / calibration.SPREAD**2


def test_labels_that_say_nothing_are_no_evidence():
    evidence = calibration.of_training_rows(jnp.float32(2), jnp.zeros(2), jnp.zeros((2, 2)), jnp.ones((3, 3)))
    assert evidence.precision < 1e-30
    np.testing.assert_allclose(evidence.log_temperature, np.log(2), rtol=1e-6)


def unequal_blobs(seed, rows=4000, classes=6):
    """Classes of 4 to 42 % of the rows, half of the labels redrawn; as many clean rows of every class."""
    rng = np.random.default_rng(seed)
    shares = 0.6 ** np.arange(classes)
    centres = 1.1 * rng.normal(size=(classes, 12))
    true = rng.choice(classes, size=rows, p=shares / shares.sum())
    val_true = np.arange(20 * classes) % classes
    features, val = (
        centres[labels] + 1.5 * rng.normal(size=(len(labels), 12)) for labels in (true, val_true)
    )
    given = np.where(rng.random(rows) < 0.5, rng.integers(classes, size=rows), true)
    return (features, given, (val, val_true)), true


def test_an_even_clean_set_is_weighed_by_what_the_training_rows_are(monkeypatch):
    gaps, right = [], []
    for seed in range(3):
        task, true = unequal_blobs(seed)
        result = purify(*task)
        right.append(float(np.mean(result.labels == true)))
        gaps.append(float(np.mean(result.confidence)) - right[-1])
    assert np.mean(np.abs(gaps)) < 0.03, gaps
    monkeypatch.setattr(calibration, "row_weights", lambda targets, _: jnp.ones(len(targets)))
    programs._program.cache_clear()
    try:
        alike = []
        for seed in range(3):
            task, true = unequal_blobs(seed)
            alike.append(float(np.mean(purify(*task).labels == true)))
    finally:
        programs._program.cache_clear()
    assert np.mean(right) > np.mean(alike) + 0.002, (right, alike)
