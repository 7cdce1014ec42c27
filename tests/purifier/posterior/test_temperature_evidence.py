"""What given labels tell of the temperature, against differences in float64 and drawn labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.posterior import e_step, label_shift, temperature_evidence
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.rows.chunks import Chunk


def drawn(probs, rng):
    """A class for each row of probabilities [n, c]."""
    return (probs.cumsum(axis=1) > rng.random((len(probs), 1))).argmax(axis=1)


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


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
