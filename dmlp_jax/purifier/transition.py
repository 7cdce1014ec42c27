"""Noise transition matrix T[y, g] = p(given label g | true label y).

T comes from soft counts of written labels against the given ones, as in confident learning (Northcutt et al.
2021) but soft, and is estimated anew whenever the classifier moves.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.search import bisect


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

    Each row is shrunk towards noise that does not ask for the class (`class_blind`), as the posterior mean of
    a Dirichlet distribution: with many classes and few rows, counts alone would be taken for structure. The
    strength of the prior comes from how much the rows differ, see `prior_strength`; where there is structure
    and rows are many, nothing is left of it.
    """
    counts = counts + jnp.finfo(counts.dtype).tiny
    prior = class_blind(counts)
    trust = prior_strength(counts, prior)
    total = jnp.sum(counts, axis=-1, keepdims=True)
    # A class that nothing is predicted as has no counts of its own.
    share = jnp.where(jnp.isfinite(trust), total / (total + trust), 0.0)
    matrix = share * counts / total + (1.0 - share) * prior
    return _positive(matrix)


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
    peak = bisect(rises, jnp.zeros_like(largest), largest, steps=20)
    height = log_likelihood(peak)
    limit = bisect(lambda e: log_likelihood(e) > height - LIMIT, peak, largest, steps=20)
    kept = noise * jnp.clip(1.0 - limit / rate, 0.0, 1.0)
    return _positive(kept + jnp.diag(1.0 - jnp.sum(kept, axis=1)))


def _positive(matrix: jax.Array) -> jax.Array:
    """Rows that sum to 1, without zeros: nothing is impossible."""
    matrix = jnp.maximum(matrix, 1e-6 / matrix.shape[-1])
    return matrix / jnp.sum(matrix, axis=-1, keepdims=True)
