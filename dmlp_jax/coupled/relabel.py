"""Labels out of weights: what a re-weighting method would say of each row."""

import jax
import jax.numpy as jnp

# Of a running weight that stays at a visit.
KEPT = 0.9


def average(table: jax.Array, weights: jax.Array) -> jax.Array:
    """Running weights [b] after the next ones [b]."""
    return KEPT * table + (1.0 - KEPT) * weights


def correct(table: jax.Array, rows: jax.Array, targets: jax.Array, probs: jax.Array) -> jax.Array:
    """The given label where the row weighs at least as much as the mean row, else the prediction; [b, c].

    Not in the papers, which make no labels.

    Args:
        table: running weights of all noisy rows [n].
        rows: which of them [b].
        targets: their given labels [b, c].
        probs: the network's predictions of them [b, c].
    """
    return jnp.where((table[rows] >= jnp.mean(table))[:, None], targets, probs)
