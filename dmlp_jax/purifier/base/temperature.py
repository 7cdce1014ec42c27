"""The temperature that calibrates a classifier before its prediction meets the noise.

Two sources say what it is, and are added up:

- **held-out clean rows**, by their cross-entropy (Guo et al. 2017), with the class shares that they have
  (`label_shift.py`): a clean set with as many rows of every class would otherwise ask for the confidence of
  rare ones.
- **the given labels of the training rows**. p(g | x) = sum_y p_t(y | x) T[y, g] depends on the temperature t:
  predictions that are too timid leave more of the given labels to chance than T says, ones that are too bold
  less. With p_t the prediction that has not seen the label, E_p and E_Q the mean under it and under the
  posterior and u the logits over t, the slope of a row's log-likelihood in log t is E_p[u] - E_Q[u]. One
  Newton step a round follows the most likely temperature.

The second is a sum over many more rows, but it leans on the prediction being right in all but scale. So they
count as no more rows than would tell log t to within `SPREAD`, were T known: with a few dozen clean rows they
decide, with a thousand hardly. T is not known, it is estimated from the same rows: timid predictions under
little noise and bold ones under much look alike, nearly so at 90 %. So only that part of the slope counts
that the noise rate has none of (the efficient score for a nuisance parameter, Neyman 1959): the step and the
precision are those of log t where the rate e of T's noise is fitted with it, T = I + e (T_0 - I). At T = T_0
the slope of a row's log-likelihood in log e is 1 - p_t(g | x) / p(g | x).
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.roots import falling_root
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence

# Rows that `fit_temperature` takes at once.
BLOCK_ROWS = 1024


def smoothed(targets: jax.Array) -> jax.Array:
    """Targets [m, c] with one uniform pseudo-observation spread over them (after Platt 1999).

    A few held-out rows that are all right would otherwise ask for infinite confidence.
    """
    rows, classes = targets.shape
    return (rows * targets + 1.0 / classes) / (rows + 1.0)


def fit_temperature(
    logits: jax.Array,
    targets: jax.Array,
    evidence: TemperatureEvidence | None = None,
    guess: jax.Array | None = None,
    shift: jax.Array | None = None,
) -> jax.Array:
    """Temperature of least cross-entropy of held-out logits, and of the evidence beside it; a scalar.

    Cross-entropy is convex in the inverse temperature b; the root of its slope, sum_i sum_y (p_b(y) -
    target_y) z_y, is found, to which the evidence adds (log t - its own) times its precision, over b.
    (Searching for the least loss itself would find b no better than to the root of the rounding error.) The
    scale of the logits sets the bracket, e^-7 to e^7 times their root mean square.

    Args:
        logits: held-out logits z, [m, c].
        targets: one-hot or distributions [m, c], smoothed here.
        evidence: what the training rows say; without, the clean rows decide.
        guess: a temperature to look at first; it saves time where it is near.
        shift: [c], added to z / t, whatever t is; see `label_shift.py`.
    """
    centred = logits - jnp.mean(logits, axis=-1, keepdims=True)
    spread = jnp.sqrt(jnp.mean(centred**2))
    unit = jnp.maximum(spread, jnp.finfo(logits.dtype).tiny)
    # At most 0, so that rows that are sure add no rounding.
    scaled = (logits - jnp.max(logits, axis=-1, keepdims=True)) / unit
    wanted = jnp.sum(smoothed(targets) * scaled, axis=-1)
    shift = jnp.zeros_like(targets[0]) if shift is None else shift
    # Rows that fill up a block have a mean and a variance of 0.
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
    """Rows [m, c] as class-major blocks [q, c, b] of a processor's cache; zeros fill up the last."""
    count = values.shape[0]
    blocks = -(-count // BLOCK_ROWS)
    size = -(-count // blocks)
    values = jnp.pad(values, ((0, blocks * size - count), (0, 0)))
    return jnp.moveaxis(values.reshape(blocks, size, -1), 2, 1)
