"""Derives corrected labels from the row weights of re-weighting methods."""

import jax
import jax.numpy as jnp

# Decay of the running weights.
KEPT = 0.9


def average(table: jax.Array, weights: jax.Array) -> jax.Array:
    """Running weights [b], updated with the weights [b] of this step."""
    return KEPT * table + (1.0 - KEPT) * weights


def correct(table: jax.Array, rows: jax.Array, targets: jax.Array, probs: jax.Array) -> jax.Array:
    """The given label where the row's weight is at least the mean weight, else the prediction; [b, c].

    Not from the papers, which do not correct labels.

    Args:
        table: running weights of all noisy rows [n].
        rows: indices of the rows [b].
        targets: given labels of these rows [b, c].
        probs: the network's predictions for these rows [b, c].
    """
    return jnp.where((table[rows] >= jnp.mean(table))[:, None], targets, probs)
