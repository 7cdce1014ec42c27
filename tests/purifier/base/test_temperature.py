import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.base import scores as selection
from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.posterior import label_shift
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence


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
    losses = [
        float(jnp.mean(selection.cross_entropies(logits / (best * factor), smooth)))
        for factor in (0.8, 1.0, 1.25)
    ]
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
