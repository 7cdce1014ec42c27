"""Corrects for label shift: clean rows whose class shares differ from those of the training rows.

People who pick clean rows often take equally many of every class. With shares pi_y among the training rows
and rho_y among the clean ones, and rows of one class alike in both, a classifier that predicts p(y | x) for a
training row must predict for a clean row

    p(y | x) rho_y / pi_y, renormalised                                 (Saerens et al. 2002)

Clean rows are compared with this corrected prediction everywhere: as training data, in the fit of the
temperature, and in the scores that every choice is made by. Without it an even clean set pulls a classifier
of unequal classes towards equal ones, and prefers one that predicts rare classes too often.
"""

import jax
import jax.numpy as jnp


def class_shares(counts: jax.Array) -> jax.Array:
    """pi, shares of the classes [c], from soft counts of true against given labels [c, c]."""
    return jnp.sum(counts, axis=1) / jnp.maximum(jnp.sum(counts), jnp.finfo(counts.dtype).tiny)


def log_ratio(targets: jax.Array, shares: jax.Array) -> jax.Array:
    """log(rho / pi), which turns logits for training rows into logits for clean ones, [c].

    pi is estimated, so a classifier that neglects a class would be excused for it. Only the deviation beyond
    sampling noise is corrected (James and Stein 1961): with weights w = pi / rho, rows drawn at random would
    deviate by sum (w - 1)^2 = c - 1 in the mean, and what deviates more is shrunk towards 1 by that much.

    Args:
        targets: one-hot [m, c], every class present; rows of 0 count for nothing.
        shares: pi, of the classes among the training rows, [c].
    """
    deviation = _deviation(targets, shares)
    chance = targets.shape[1] - 1
    kept = 1.0 - chance / jnp.maximum(_distance(targets, shares), chance)
    return -jnp.log(jnp.maximum(1.0 + kept * deviation, jnp.finfo(targets.dtype).eps))


def keep_larger_shift(targets: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Whichever of two estimates of pi [c] is farther from rho, by sum (w - 1)^2 over the clean rows.

    Class shares may move away from the clean set's but not back. They start too near, since the classifier
    also trains on the clean rows; moving back marks a classifier that absorbs ambiguous rows into rare
    classes, which happens where the given labels carry little information.

    Args:
        targets: one-hot [m, c].
        new: shares of the classes, [c].
        old: likewise, taken where they are farther.
    """
    return jnp.where(_distance(targets, new) >= _distance(targets, old), new, old)


def _deviation(targets: jax.Array, shares: jax.Array) -> jax.Array:
    """The weights w of every class, less 1, [c]."""
    counts = jnp.maximum(jnp.sum(targets, axis=0), jnp.finfo(targets.dtype).tiny)
    return shares * jnp.sum(targets) / counts - 1.0


def _distance(targets: jax.Array, shares: jax.Array) -> jax.Array:
    """Sum (w - 1)^2 over the clean rows, a scalar."""
    return jnp.sum(jnp.sum(targets, axis=0) * _deviation(targets, shares) ** 2)
