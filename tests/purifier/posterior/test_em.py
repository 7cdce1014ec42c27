"""The rounds against a plain loop in float64, one classifier after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig
from dmlp_jax.purifier.base import nesterov, ridge
from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.base.temperature import TemperatureEvidence
from dmlp_jax.purifier.posterior import label_shift, race, temperature_evidence, transition
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.rows import chunks, loading
from dmlp_jax.purifier.rows import clean_set as clean_lib

slow = pytest.mark.slow
N, M, D, C, FOLDS, STEPS = 90, 24, 5, 3, 2, 4


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def normalized(values):
    return values / values.sum(axis=1, keepdims=True)


def leverage_of(response, information, spectrum):
    share = np.sum(spectrum * response) / N
    return share / max(1.0 - information * share, 0.1)


class Classifier:
    """A classifier of the only candidate."""

    def __init__(self, weights, memory):
        self.weights = self.ahead = weights
        self.response = self.response_ahead = np.zeros_like(memory)
        self.memory = self.memory_ahead = memory
        self.information = 0.0

    def write(self, features, given, matrix, leverage, memory, temperature):
        """Written labels, predictions, residuals, and slopes in the logs of temperature and noise rate."""
        logits, likelihood = features @ self.ahead, matrix[:, given].T
        probs = softmax(logits)
        residual = probs - normalized(probs * likelihood)
        alone = logits + leverage * residual - memory * np.eye(C)[given]
        prior = softmax(alone / temperature)
        seen = np.sum(prior * likelihood, axis=1)
        labels = prior * likelihood / seen[:, None]
        hotter = np.sum((prior - labels) * alone / temperature, axis=1)
        noisier = 1 - prior[np.arange(len(given)), given] / seen
        return labels, probs, residual, np.stack([hotter, noisier])

    def step(self, gradient, bound, spectrum, decay, momentum):
        def move(last, ahead, pull):
            following = ahead - pull
            return following, following + momentum * (following - last)

        self.weights, self.ahead = move(self.weights, self.ahead, np.linalg.solve(bound, gradient))
        curvature, unit = self.information * spectrum + decay, 0.5 * spectrum + decay
        self.response, self.response_ahead = move(
            self.response, self.response_ahead, (curvature * self.response_ahead - 1.0) / unit
        )
        self.memory, self.memory_ahead = move(
            self.memory, self.memory_ahead, curvature * self.memory_ahead / unit
        )


def in_numpy(features, given, clean, weights, memory, decay, val_weight):
    """Leverage, memory, temperature, T and weights that each round writes with, and the share it changes."""
    val, targets, masks = (np.asarray(x, np.float64) for x in (clean.features, clean.targets, clean.masks))
    gram = features.T @ features
    spectrum = np.linalg.eigvalsh(gram)
    bound = 0.5 * (gram + val_weight * val.T @ val) + decay * np.eye(len(gram))
    members = [Classifier(w, memory) for w in weights]
    onehot, unseen = np.eye(C)[given], 1.0 - masks[:-1]
    start = leverage_of(memory, 0.0, spectrum)
    uniform = np.full((C, C), 1.0 / C)
    counts = [m.write(features, given, uniform, 0.0, start, 1.0)[0].T @ onehot for m in members]
    temperature, found = 1.0, []
    evidence = TemperatureEvidence(jnp.float32(0), jnp.float32(0))
    known = counts[-1].sum(axis=1) / N
    for momentum in nesterov.nesterov_momentum(STEPS):
        matrices = [np.asarray(transition.transition_matrix(jnp.asarray(c, jnp.float32))) for c in counts]
        held_out = sum(u[:, None] * (val @ m.ahead) for u, m in zip(unseen, members[:-1], strict=True))
        # A classifier of the training rows meets clean rows whose classes are not as frequent.
        shift = np.asarray(label_shift.log_ratio(clean.targets, jnp.asarray(known, jnp.float32)), np.float64)
        asked = (jnp.asarray(x, jnp.float32) for x in (held_out, targets))
        temperature = float(
            calibration.fit_temperature(*asked, evidence, jnp.float32(temperature), jnp.float32(shift))
        )
        own = [leverage_of(m.response_ahead, m.information, spectrum) for m in members]
        kept = [leverage_of(m.memory_ahead, 0.0, spectrum) for m in members]
        heads = [m.ahead for m in members]
        counts = []
        for i, member in enumerate(members):
            written = member.write(features, given, matrices[i], own[i], kept[i], temperature)
            labels, probs, residual, slopes = written
            counts.append(labels.T @ onehot)
            member.information = np.sum(residual**2) / (N * (C - 1))
            clean_pull = val.T @ (masks[i][:, None] * (softmax(val @ member.ahead + shift) - targets))
            gradient = features.T @ (probs - labels) + decay * member.ahead + val_weight * clean_pull
            member.step(gradient, bound, spectrum, decay, momentum)
        curvature = slopes @ slopes.T
        step = np.linalg.solve(curvature, slopes.sum(axis=1))[0]
        likeliest = np.log(temperature) + np.clip(step, -0.5, 0.5)
        # The noise rate is unknown: what it could say as well does not count.
        precision = (
            1.0 / np.linalg.inv(curvature)[0, 0] / (1.0 + temperature_evidence.SPREAD**2 * curvature[0, 0])
        )
        shares = counts[-1].sum(axis=1) / N
        frequent = np.mean(targets, axis=0)
        # As far from the clean ones as they have been.
        if np.sum((shares - frequent) ** 2 / frequent) >= np.sum((known - frequent) ** 2 / frequent):
            known = shares
        evidence = TemperatureEvidence(np.float32(likeliest), np.float32(precision))
        assert found or np.ptp(shift) > 1.0
        found.append((heads, matrices, own, kept, temperature, 1.0 - np.trace(counts[-1]) / N))
    return found


@pytest.mark.parametrize("steps", [pytest.param(1, marks=slow), pytest.param(2, marks=slow), STEPS])
def test_rounds_are_a_plain_loop(steps):
    rng = np.random.default_rng(0)
    true = np.arange(N + M) % C
    features = rng.normal(size=(N + M, D)) + 2.0 * np.eye(C, D)[true]
    given = np.where(rng.random(N) < 0.4, rng.integers(C, size=N), true[:N])
    ones = jnp.ones(N)
    train = loading.load(jnp.asarray(features[:N], jnp.float32), jnp.asarray(given), ones, C, (FOLDS + 1) * C)
    standard = np.asarray(train.features, np.float64).reshape(N, D + 1)
    val = np.concatenate([rng.normal(size=(M, D)) + 2.0 * np.eye(C, D)[true[N:]], np.ones((M, 1))], axis=1)
    clean = clean_lib.make(jnp.asarray(val, jnp.float32), jnp.asarray(true[N:]), C, FOLDS, jax.random.key(0))
    gram, _, total = chunks.sum_over(chunks.moments, train)
    config = PurifyConfig(steps=steps, selection=False, weight_decay=(0.5,), val_weight=2.0)
    shared = race.precompute(gram, ridge.spectrum(gram), total, clean, config)
    weights = rng.normal(size=(FOLDS + 1, D + 1, C))
    weights[:, -1, -1] += 4.0  # the last class is thought to be more frequent than among the clean rows
    memory = rng.random(D + 1) / N
    start = Probe(*(jnp.asarray(x, jnp.float32) for x in (weights, np.zeros((M, C)))), None, memory)
    start = start._replace(response=jnp.asarray(memory, jnp.float32))
    best, _, history = jax.jit(race.run)(train, clean, start, shared, config)
    expected = in_numpy(standard, given, clean, weights, memory, 0.5 * (D + 1), 2.0)
    heads, matrices, own, kept, temperature, _ = expected[steps - 1]
    np.testing.assert_allclose(best.fitted.model.weights, heads, atol=1e-3)
    np.testing.assert_allclose(best.fitted.model.transition, matrices, atol=1e-3)
    np.testing.assert_allclose(best.fitted.model.leverage, own, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(best.fitted.model.given_label_leverage, kept, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(best.fitted.model.temperature, temperature, rtol=1e-3)
    np.testing.assert_allclose(history["changed"], [each[-1] for each in expected[:steps]], atol=1e-3)
    assert int(best.step) == steps
