"""Maps ridge scores to logits by linear discriminant analysis in the space of the classes.

Ridge regression predicts each class by itself. With many classes a class that lies between others is masked
by them. Discriminant analysis of the c scores (Hastie et al. 1994, optimal scoring) repairs that: it knows
where the classes lie among the scores and how the scores spread. It takes c x c sums over the rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import HIGHEST, matmul

# Penalty on the scatter within classes, over its mean eigenvalue.
PENALTY = 0.02


class ClassMaps(NamedTuple):
    """Logits = scores @ weights + bias, for k classifiers.

    Attributes:
        weights: [k, c, c].
        bias: [k, c].
    """

    weights: jax.Array
    bias: jax.Array


class ScoreSums(NamedTuple):
    """Sums over rows of labels q and scores s, for k classifiers.

    Attributes:
        counts: sum of q, [k, c].
        products: sum of q s^T, [k, c, c].
        scatter: sum of s s^T, [k, c, c].
    """

    counts: jax.Array
    products: jax.Array
    scatter: jax.Array


def score_sums(labels: jax.Array, scores: jax.Array, weight: jax.Array) -> ScoreSums:
    """`ScoreSums` of labels and scores [k, c, b], rows of weight [b]."""
    weighted = weight * scores
    return ScoreSums(
        jnp.einsum("kcb,b->kc", labels, weight, precision=HIGHEST),
        jnp.einsum("kyb,ksb->kys", labels, weighted, precision=HIGHEST),
        jnp.einsum("krb,ksb->krs", scores, weighted, precision=HIGHEST),
    )


def fit(sums: ScoreSums) -> ClassMaps:
    """The maps of linear discriminant analysis, one classifier after the other."""
    return ClassMaps(*jax.lax.map(_fit_one, sums))


def _fit_one(sums: ScoreSums) -> tuple[jax.Array, jax.Array]:
    counts = sums.counts + 1.0
    means = sums.products / counts[:, None]
    within = (sums.scatter - matmul(means.T * counts, means)) / jnp.sum(counts)
    # Scores that are all equal have no scatter.
    unit = jnp.maximum(ridge.mean_eigenvalue(within), jnp.finfo(within.dtype).tiny)
    weights = ridge.solve(within / unit, jnp.float32(PENALTY), means.T) / unit
    bias = jnp.log(counts / jnp.sum(counts)) - 0.5 * jnp.sum(means.T * weights, axis=0)
    return weights, bias
