"""Bisection inside traced programs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def bisect(below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array, steps: int) -> jax.Array:
    """Where a condition that holds from `low` on ceases to hold, a scalar.

    Args:
        below: whether it still holds at a scalar, bool; monotonous.
        low: scalar.
        high: scalar, not below `low`; the answer if the condition never ceases.
        steps: halvings of the bracket.
    """

    def body(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        further = below(middle)
        return jnp.where(further, middle, low), jnp.where(further, high, middle)

    low, high = jax.lax.fori_loop(0, steps, body, (low, high))
    return 0.5 * (low + high)
