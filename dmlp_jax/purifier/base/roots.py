"""Roots inside traced programs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def bisect(below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array, steps: int) -> jax.Array:
    """Where a condition that holds from `low` on ceases to hold, a scalar.

    Args:
        below: whether it still holds at a scalar, bool; monotone.
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


def falling_root(
    function: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    low: jax.Array,
    high: jax.Array,
    start: jax.Array | None = None,
    tolerance: float = 1e-6,
    steps: int = 30,
) -> jax.Array:
    """Where a falling function crosses zero, a scalar: Newton's steps, halvings where they leave the bracket.

    Args:
        function: value and derivative at a scalar.
        low: scalar; the answer if the function is nowhere above zero.
        high: scalar, not below `low`; the answer if it is nowhere below zero.
        start: where to look first, the middle by default.
        tolerance: of the answer, taken from the last step: a halving's length, the square of Newton's, whose
            error falls quadratically.
        steps: most evaluations.
    """

    def body(state):
        at, low, high, _, count = state
        value, slope = function(at)
        low, high = jnp.where(value > 0, at, low), jnp.where(value > 0, high, at)
        newton = at - value / slope
        # Not true of a step that is not a number either.
        inside = (newton > low) & (newton < high)
        following = jnp.where(inside, newton, 0.5 * (low + high))
        moved = jnp.abs(following - at)
        return following, low, high, jnp.where(inside, moved**2, moved), count + 1

    def unfinished(state):
        return (state[3] > tolerance) & (state[4] < steps)

    first = 0.5 * (low + high) if start is None else jnp.clip(start, low, high)
    state = (first, low, high, jnp.full_like(low, jnp.inf), jnp.int32(0))
    return jax.lax.while_loop(unfinished, body, state)[0]
