"""Clean rows whose classes are not as frequent as those of the training rows: label shift.

Whoever picks clean rows often takes as many of every class. With shares pi_y among the training rows and
rho_y among the clean ones, and rows of a class alike in both, the classifier that says p(y | x) of a training
row says of a clean one

    p(y | x) rho_y / pi_y, renormalised                                 (Saerens et al. 2002)

This is what meets the clean rows wherever they are looked at: as training data, in the fit of the temperature
and in the scores by which everything is chosen. Without it an even clean set pulls a classifier of unequal
classes towards equal ones, and finds one that believes in rare classes too often better than one that is
right about them.
"""

import jax
import jax.numpy as jnp


def log_ratio(targets: jax.Array, shares: jax.Array) -> jax.Array:
    """log(rho / pi), what turns logits for training rows into logits for clean ones, [c].

    The shares pi are estimates, and a classifier that neglects a class would be forgiven for it. So only what
    clean rows drawn at random would not show by chance counts: with weights w = pi / rho, as many rows of
    each class as there are would deviate by sum (w - 1)^2 = c - 1 in the mean, and what deviates more shrinks
    towards 1 by that much, after James and Stein (1961).

    Args:
        targets: one-hot [m, c], every class present.
        shares: pi, of the classes among the training rows, [c].
    """
    away = _deviation(targets, shares)
    chance = targets.shape[1] - 1
    kept = 1.0 - chance / jnp.maximum(_distance(targets, shares), chance)
    return -jnp.log(jnp.maximum(1.0 + kept * away, jnp.finfo(targets.dtype).eps))


def keep_larger_shift(targets: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Those of two estimates of pi [c] that are farther from rho, by sum (w - 1)^2 over the clean rows.

    A classifier starts nearer to rho than it should, for the clean rows have a say in it, and leaves it.
    Where the given labels say little it may come back, and with it the class shares that it is forgiven for:
    rare classes then take in what nothing is known of. Told the shares that it has had, it does not.

    Args:
        targets: one-hot [m, c].
        new: shares of the classes, [c].
        old: likewise, taken where they are farther.
    """
    return jnp.where(_distance(targets, new) >= _distance(targets, old), new, old)


def _deviation(targets: jax.Array, shares: jax.Array) -> jax.Array:
    """The weights w of every class, less 1, [c]."""
    counts = jnp.maximum(jnp.sum(targets, axis=0), jnp.finfo(targets.dtype).tiny)
    return shares * targets.shape[0] / counts - 1.0


def _distance(targets: jax.Array, shares: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sum(targets, axis=0) * _deviation(targets, shares) ** 2)
