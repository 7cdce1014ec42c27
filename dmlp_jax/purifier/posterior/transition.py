"""Estimates the noise transition matrix T[y, g] = p(given label g | true label y).

T is estimated from soft counts of written labels against the given ones, as in confident learning
(Northcutt et al. 2021) but soft, and anew whenever the classifier moves.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul


def soft_counts(probs: jax.Array, given: jax.Array, weight: jax.Array) -> jax.Array:
    """Counts of predicted class against given label, [c, c].

    Args:
        probs: class probabilities [n, c].
        given: given labels as distributions [n, c].
        weight: row weights [n].
    """
    return matmul(probs.T, weight[:, None] * given)


def transition_matrix(counts: jax.Array) -> jax.Array:
    """An estimate of T[y, g] = p(g | y) from soft counts [c, c], positive, rows summing to 1.

    Each row is shrunk towards noise that does not depend on the class (`class_blind`), as the posterior mean
    of a Dirichlet distribution: with many classes and few rows, chance would be taken for structure. The
    strength of the prior comes from how much the rows differ, see `prior_strength`; where there is structure
    and rows are many, nothing is left of it.
    """
    counts = counts + jnp.finfo(counts.dtype).tiny
    prior = class_blind(counts)
    trust = prior_strength(counts, prior)
    total = jnp.sum(counts, axis=-1, keepdims=True)
    # A class that is never predicted has no counts.
    share = jnp.where(jnp.isfinite(trust), total / (total + trust), 0.0)
    matrix = share * counts / total + (1.0 - share) * prior
    return positive(matrix)


def class_blind(counts: jax.Array, iterations: int = 10) -> jax.Array:
    """The transition matrix with one noise rate e for all classes, and wrong labels drawn alike for all.

    T[y, g] = e q_g / (1 - q_y) for g != y. The noise's own labels q are fitted to how often each is given
    wrongly (quasi-independence, Goodman 1968): rare classes are often the wrong label without being favoured.

    Args:
        counts: soft counts [c, c], positive.
        iterations: of the fit.
    """
    classes = counts.shape[-1]
    off = 1.0 - jnp.eye(classes, dtype=counts.dtype)
    wrong = off * counts
    rate = jnp.sum(wrong) / jnp.sum(counts)
    leaving, arriving = jnp.sum(wrong, axis=1), jnp.sum(wrong, axis=0)
    tiny = jnp.finfo(counts.dtype).tiny

    def body(_, noise):
        offered = leaving / jnp.maximum(1.0 - noise, 1e-6)
        noise = arriving / jnp.maximum(matmul(off, offered), tiny)
        return noise / jnp.sum(noise)

    noise = jax.lax.fori_loop(0, iterations, body, jnp.full(classes, 1.0 / classes, counts.dtype))
    target = off * noise + tiny
    return (1.0 - rate) * (1.0 - off) + rate * off * target / jnp.sum(off * target, axis=-1, keepdims=True)


def prior_strength(counts: jax.Array, prior: jax.Array) -> jax.Array:
    """Pseudo-counts a of a Dirichlet prior with mean `prior` [c, c] for each row, by the method of moments.

    If row y has N_y counts, E sum (counts - N_y prior)^2 = (sum N_y^2 v + a sum N_y v) / (1 + a) with
    v = prior (1 - prior). Infinite where the rows differ no more than by chance.
    """
    total = jnp.sum(counts, axis=-1, keepdims=True)
    variance = prior * (1.0 - prior)
    chance = jnp.sum(total * variance)
    found = jnp.sum((counts - total * prior) ** 2)
    most = jnp.sum(total**2 * variance)
    excess = found - chance
    strength = jnp.maximum(most - found, 0.0) / jnp.where(excess > 0, excess, 1.0)
    return jnp.where(excess > 0, strength, jnp.inf)


def positive(matrix: jax.Array) -> jax.Array:
    """Clips entries to a small positive number and scales rows to sum to 1: no label is impossible."""
    matrix = jnp.maximum(matrix, 1e-6 / matrix.shape[-1])
    return matrix / jnp.sum(matrix, axis=-1, keepdims=True)
