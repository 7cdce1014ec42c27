"""Noise transition matrix and the posterior of the true label.

With T[y, g] = p(given label g | true label y) and a classifier p(y | x), Bayes' rule gives
p(y | x, g) proportional to p(y | x) T[y, g]: the given label keeps its evidence. T comes from the
classifier's own soft counts against the given labels, as in confident learning (Northcutt et al. 2021)
but soft, and is estimated anew whenever the classifier moves.
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


def posterior(probs: jax.Array, transition: jax.Array, given: jax.Array) -> jax.Array:
    """p(y | x, g) for every row, [n, c], rows on the simplex.

    Args:
        probs: p(y | x), [n, c].
        transition: T, [c, c], strictly positive rows.
        given: given labels as distributions [n, c].
    """
    joint = probs * matmul(given, transition.T)
    total = jnp.sum(joint, axis=-1, keepdims=True)
    # Where a prediction underflows to 0 for all classes that could have given g, p(y | x) decides.
    return jnp.where(total > 0, joint / jnp.where(total > 0, total, 1.0), probs)
