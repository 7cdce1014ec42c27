"""Noise transition matrix T[y, g] = p(given label g | true label y).

T comes from soft counts of written labels against the given ones, as in confident learning (Northcutt et al.
2021) but soft, and is estimated anew whenever the classifier moves.
"""

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
