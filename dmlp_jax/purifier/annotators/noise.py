"""Estimates the transition matrix of each annotator, shrunk to that of all annotators.

An annotator with few labels does not determine c^2 numbers. The common matrix is the mean of a Dirichlet
prior on each row of an annotator's matrix. How strong the prior is follows from how much annotators differ
beyond chance, so annotators who are all alike share one matrix, and an annotator who guesses is told apart.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.posterior.transition import positive, prior_strength, transition_matrix

# Least pseudo-counts of the prior.
LEAST_STRENGTH = 1.0


class AnnotatorNoise(NamedTuple):
    """What annotators make of each class.

    Attributes:
        common: T[y, g] = p(vote g | true class y) over all annotators, [c, c].
        own: that of each annotator, [a, c, c].
        quality: estimated share of right labels among those of each annotator, [a]; 0 without labels.
    """

    common: jax.Array
    own: jax.Array
    quality: jax.Array


def estimate(counts: jax.Array) -> AnnotatorNoise:
    """`AnnotatorNoise` of soft counts of true class against vote, [a, c, c]."""
    common = transition_matrix(jnp.sum(counts, axis=0))
    strength = jnp.maximum(prior_strength(counts, common), LEAST_STRENGTH)
    total = jnp.sum(counts, axis=-1, keepdims=True)
    share = jnp.where(jnp.isfinite(strength), total / (total + strength), 0.0)
    own = share * counts / jnp.maximum(total, jnp.finfo(counts.dtype).tiny) + (1.0 - share) * common
    own = jax.vmap(positive)(own)
    of_each = jnp.sum(total, axis=(1, 2))
    # Where an annotator has few labels of a class, its row is mostly the prior's.
    right = jnp.sum(total[..., 0] * jnp.diagonal(own, axis1=1, axis2=2), axis=1)
    return AnnotatorNoise(common, own, right / jnp.maximum(of_each, 1e-6))
