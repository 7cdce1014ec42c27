"""Estimates the noise rate and the pattern of mistakes, the two parts of a transition matrix.

T[y, g] = p(given g | true y) says how often labels are wrong, and which wrong labels are given. Reviewed rows
tell the first well and the second badly: there are c^2 pairs of classes. So they are taken apart. The pattern
comes from the soft counts of all training rows; the rate comes from reviewed rows, shrunk to that of the
counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.posterior import label_shift
from dmlp_jax.purifier.posterior.transition import transition_matrix
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews

# Reviewed rows that the noise rate of the soft counts is worth.
PSEUDO_ROWS = 10.0
# Bounds of a noise rate: no label is certain, and none is worse than chance.
LEAST_RATE = 1e-3


class NoiseEvidence(NamedTuple):
    """What a given label g says about each class y, in nats.

    Attributes:
        pattern: log T[y, g] less that of noise of the same rate which does not depend on the classes, [c, c].
        log_odds: of g being right, against any one other class, at the noise rate of reviewed rows; scalar.
    """

    pattern: jax.Array
    log_odds: jax.Array


def noise_evidence(counts: jax.Array, reviews: Reviews, clean: CleanSet, shift: jax.Array) -> NoiseEvidence:
    """`NoiseEvidence` of soft counts and reviewed rows.

    Args:
        counts: soft counts of true against given labels of the training rows, [c, c].
        reviews: of the clean rows. Only those drawn at random tell the noise rate.
        clean: the clean rows.
        shift: log(rho / pi), by which the classes' shares among random clean rows differ, [c].
    """
    classes = counts.shape[0]
    chance = (classes - 1) / classes
    counted = _rate(jnp.trace(counts) / jnp.maximum(jnp.sum(counts), jnp.finfo(counts.dtype).tiny), chance)
    weight = reviews.known * reviews.random * jnp.exp(-matmul(clean.targets, shift[:, None])[:, 0])
    wrong = jnp.dot(weight, 1.0 - jnp.sum(reviews.given * clean.targets, axis=1))
    rate = (wrong + PSEUDO_ROWS * counted) / (jnp.sum(weight) + PSEUDO_ROWS)
    rate = jnp.clip(rate, LEAST_RATE, 0.95 * chance)
    same = jnp.eye(classes, dtype=counts.dtype)
    flat = same * jnp.log1p(-counted) + (1.0 - same) * jnp.log(counted / (classes - 1))
    return NoiseEvidence(
        jnp.log(transition_matrix(counts)) - flat, jnp.log((1.0 - rate) * (classes - 1) / rate)
    )


def class_share_shift(counts: jax.Array, reviews: Reviews, clean: CleanSet) -> jax.Array:
    """log(rho / pi) of the clean rows that were drawn at random, [c]; see `posterior/label_shift.py`.

    0 where some class has no such row: then the random rows are too few to say.

    Args:
        counts: see `noise_evidence`.
        reviews: of the clean rows.
        clean: the clean rows.
    """
    targets = clean.targets * reviews.random[:, None]
    covered = jnp.min(jnp.sum(targets, axis=0)) > 0
    targets = jnp.where(covered, targets, clean.targets)
    shift = label_shift.log_ratio(targets, label_shift.class_shares(counts))
    return jnp.where(covered, shift, 0.0)


def _rate(right: jax.Array, chance: float) -> jax.Array:
    return jnp.clip(1.0 - right, LEAST_RATE, 0.95 * chance)
