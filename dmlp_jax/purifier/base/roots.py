"""Finds roots of monotone functions inside traced programs: bisection, Newton's method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def bisect(below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array, steps: int) -> jax.Array:
    """Finds by bisection where a condition that holds at `low` becomes false, a scalar.

    Args:
        below: the condition at a scalar, bool; it changes once at most.
        low: scalar.
        high: scalar, not below `low`; the answer if the condition holds everywhere.
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
    """Finds the root of a falling function, a scalar, by Newton's method, with bisection as its fallback.

    Args:
        function: value and derivative at a scalar.
        low: scalar; the answer if the function is nowhere above zero.
        high: scalar, not below `low`; the answer if it is nowhere below zero.
        start: first guess, the middle of the bracket by default.
        tolerance: the search ends when the error estimate is below. The estimate is the length of the last
            bisection, or the square of the last Newton step, since Newton's error falls quadratically.
        steps: most evaluations.
    """

    def body(state):
        at, low, high, _, count = state
        value, slope = function(at)
        low, high = jnp.where(value > 0, at, low), jnp.where(value > 0, high, at)
        # Where the function is flat, there is no step; 0 / 0 would be NaN.
        newton = at - jnp.where(slope == 0, jnp.inf, value / jnp.where(slope == 0, 1.0, slope))
        # Also false where the value is NaN.
        inside = (newton > low) & (newton < high)
        following = jnp.where(inside, newton, 0.5 * (low + high))
        moved = jnp.abs(following - at)
        return following, low, high, jnp.where(inside, moved**2, moved), count + 1

    def unfinished(state):
        return (state[3] > tolerance) & (state[4] < steps)

    first = 0.5 * (low + high) if start is None else jnp.clip(start, low, high)
    state = (first, low, high, jnp.full_like(low, jnp.inf), jnp.int32(0))
    return jax.lax.while_loop(unfinished, body, state)[0]
