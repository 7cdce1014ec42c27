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
    tiny, eps = jnp.finfo(targets.dtype).tiny, jnp.finfo(targets.dtype).eps
    counts = jnp.sum(targets, axis=0)
    away = shares * targets.shape[0] / jnp.maximum(counts, tiny) - 1.0
    chance = targets.shape[1] - 1
    kept = 1.0 - chance / jnp.maximum(jnp.sum(counts * away**2), chance)
    return -jnp.log(jnp.maximum(1.0 + kept * away, eps))
