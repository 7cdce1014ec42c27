"""Noise transition matrix T[y, g] = p(given label g | true label y).

T comes from soft counts of written labels against the given ones, as in confident learning (Northcutt et al.
2021) but soft, and is estimated anew whenever the classifier moves.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.ridge import matmul


def soft_counts(probs: jax.Array, given: jax.Array, weight: jax.Array) -> jax.Array:
    """Counts of predicted class against given label, [c, c].

    Args:
        probs: class probabilities [n, c].
        given: given labels as distributions [n, c].
        weight: row weights [n].
    """
    return matmul(probs.T, weight[:, None] * given)


def transition_matrix(counts: jax.Array) -> jax.Array:
    """Row-normalised, strictly positive counts [c, c]: an estimate of T[y, g] = p(g | y).

    A class that nothing is predicted as gets a uniform row: its given labels carry no evidence.
    """
    floor = 1e-6 * jnp.sum(counts) / counts.shape[-1] ** 2 + jnp.finfo(counts.dtype).tiny
    counts = jnp.maximum(counts, floor)
    return counts / jnp.sum(counts, axis=-1, keepdims=True)


# Fall of a log-likelihood from its peak to the one-sided 95 % confidence limit, 1.645^2 / 2.
LIMIT = 1.353


def discount(matrix: jax.Array, probs: jax.Array, targets: jax.Array) -> jax.Array:
    """T without the noise that it would also find in labels that are known to be right, [c, c].

    A prediction that is sure and wrong looks like a wrong label, so T has noise even where there is none. The
    clean rows tell how much: taken for training rows whose given label is their true one, they fit noise of
    T's pattern at a rate e, log-likelihood sum_v log((1 - e R_yy) p(y_v) + e sum_y p(y) R[y, y_v]) with R
    the pattern at a mean rate of 1. The upper 95 % confidence limit of e is taken off T's own rate: few
    clean rows leave much in doubt, and not to touch a label is the safe choice.

    Args:
        matrix: T, [c, c].
        probs: calibrated predictions for clean rows that were held out, [m, c].
        targets: one-hot [m, c].
    """
    classes = matrix.shape[0]
    noise = matrix * (1.0 - jnp.eye(classes, dtype=matrix.dtype))
    rates = jnp.sum(noise, axis=1)
    rate = jnp.maximum(jnp.mean(rates), jnp.finfo(matrix.dtype).tiny)
    right = jnp.sum(probs * targets, axis=1)
    leaving = jnp.sum(probs * targets * rates, axis=1) / rate
    slope = jnp.sum(matmul(probs, noise) * targets, axis=1) / rate - leaving

    def log_likelihood(e):
        return jnp.sum(jnp.log(jnp.maximum(right + e * slope, jnp.finfo(right.dtype).tiny)))

    def rises(e):
        return jnp.sum(slope / jnp.maximum(right + e * slope, jnp.finfo(right.dtype).tiny)) > 0

    largest = jnp.minimum(rate / jnp.maximum(jnp.max(rates), rate), 1.0)
    peak = _bisect(rises, jnp.zeros_like(largest), largest)
    height = log_likelihood(peak)
    limit = _bisect(lambda e: log_likelihood(e) > height - LIMIT, peak, largest)
    kept = noise * jnp.clip(1.0 - limit / rate, 0.0, 1.0)
    return transition_matrix(kept + jnp.diag(1.0 - jnp.sum(kept, axis=1)))


def _bisect(below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """Where `below` turns false between `low` and `high`, to a millionth of their distance."""

    def body(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        further = below(middle)
        return jnp.where(further, middle, low), jnp.where(further, high, middle)

    return jax.lax.fori_loop(0, 20, body, (low, high))[0]
