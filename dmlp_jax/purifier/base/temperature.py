"""Fits the temperature that calibrates a classifier's predictions.

It has the least cross-entropy on held-out clean rows (Guo et al. 2017). The evidence of the training rows
(`posterior/temperature_evidence.py`) may be added as a Gaussian belief about its logarithm. Where the clean
rows have other class shares than the training rows, predictions are shifted accordingly
(`posterior/label_shift.py`): a clean set with equally many rows of every class would otherwise demand too
much confidence in rare classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import masked
from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.base.roots import falling_root

# Rows that `fit_temperature` takes at once.
BLOCK_ROWS = 1024


class TemperatureEvidence(NamedTuple):
    """A Gaussian belief about the logarithm of a temperature t.

    Attributes:
        log_temperature: its mean, scalar.
        precision: one over its variance, scalar.
    """

    log_temperature: jax.Array
    precision: jax.Array


def smoothed(targets: jax.Array) -> jax.Array:
    """Targets [m, c] with one uniform pseudo-observation spread over them (after Platt 1999).

    A few held-out rows that are all classified correctly would otherwise give infinite confidence. Targets of
    0, those of padding, stay 0.
    """
    real = masked.of_targets(targets)
    rows = jnp.sum(real)
    return real[:, None] * (rows * targets + 1.0 / targets.shape[1]) / (rows + 1.0)


def fit_temperature(
    logits: jax.Array,
    targets: jax.Array,
    evidence: TemperatureEvidence | None = None,
    guess: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> jax.Array:
    """The temperature of least cross-entropy of held-out logits plus the evidence's loss, a scalar.

    Cross-entropy is convex in the inverse temperature b. The root of its slope, sum_i sum_y (p_b(y) -
    target_y) z_y, is searched; the evidence subtracts precision (log t - log_temperature) / b from it.
    (Searching for the least loss itself would find b to the square root of the rounding error only.) The
    bracket is e^-7 to e^7 times the root mean square of the centred logits.

    Args:
        logits: held-out logits z, [m, c].
        targets: one-hot or distributions [m, c], smoothed here; 0 for padding, which counts for nothing.
        evidence: added to the held-out rows' loss; None for the held-out rows alone.
        guess: a temperature to start the search at; it saves time where it is near.
        shift: [c], added to z / t for every t; see `posterior/label_shift.py`.
    """
    real = masked.of_targets(targets)
    centred = logits - jnp.mean(logits, axis=-1, keepdims=True)
    spread = jnp.sqrt(masked.mean(jnp.mean(centred**2, axis=-1), real))
    unit = jnp.maximum(spread, jnp.finfo(logits.dtype).tiny)
    # At most 0, so that rows of high confidence add no rounding.
    scaled = real[:, None] * (logits - jnp.max(logits, axis=-1, keepdims=True)) / unit
    wanted = jnp.sum(smoothed(targets) * scaled, axis=-1)
    shift = jnp.zeros_like(targets[0]) if shift is None else shift
    # Padding and rows that fill up a block have a mean and a variance of 0.
    blocks = _blocks(scaled), _blocks(wanted[:, None])

    def excess(log_temperature):
        sharpness = jnp.exp(-log_temperature)

        def add(sums, block):
            scaled, wanted = block
            scores = jnp.exp(scaled * sharpness + shift[:, None])
            share = 1.0 / jnp.sum(scores, axis=0)
            mean = share * jnp.sum(scores * scaled, axis=0)
            variance = share * jnp.sum(scores * scaled**2, axis=0) - mean**2
            return (sums[0] + jnp.sum(mean - wanted[0]), sums[1] + jnp.sum(variance)), None

        zero = jnp.zeros((), scaled.dtype)
        value, variance = jax.lax.scan(add, (zero, zero), blocks)[0]
        slope = -sharpness * variance
        if evidence is not None:
            pull = evidence.precision / sharpness
            away = log_temperature + jnp.log(unit) - evidence.log_temperature
            value, slope = value - pull * away, slope - pull * (1.0 + away)
        return value, slope

    start = None if guess is None else jnp.log(guess / unit)
    log_temperature = falling_root(excess, jnp.float32(-7.0), jnp.float32(7.0), start)
    # Logits that are all equal have no scale.
    return jnp.where(spread > 0, unit * jnp.exp(log_temperature), 1.0)


def _blocks(values: jax.Array) -> jax.Array:
    """Cuts rows [m, c] into class-major blocks [q, c, b] that fit the cache; zeros fill up the last."""
    blocks = -(-values.shape[0] // BLOCK_ROWS)
    return jnp.moveaxis(into_chunks(values, -(-values.shape[0] // blocks)), 2, 1)
