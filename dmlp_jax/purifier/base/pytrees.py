"""Helpers for trees of arrays: one index of all leaves, and rows cut into chunks of equal size."""

from typing import Any

import jax
import jax.numpy as jnp


def at(tree: Any, index: jax.Array | int) -> Any:
    """Leaves [s, ...] at one index of their first axis."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 0, keepdims=False), tree)


def last(tree: Any) -> Any:
    """Leaves [s, ...] at the last index of their first axis."""
    return jax.tree.map(lambda leaf: leaf[-1], tree)


def where(condition: jax.Array, new: Any, old: Any) -> Any:
    """The leaves of `new` where a scalar condition holds, else those of `old`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def into_chunks(rows: jax.Array, size: int, fill: float = 0) -> jax.Array:
    """Rows [n, ...] in chunks of `size`, [ceil(n / size), size, ...]; `fill` pads the last one."""
    missing = [(0, -rows.shape[0] % size)] + [(0, 0)] * (rows.ndim - 1)
    return jnp.pad(rows, missing, constant_values=fill).reshape(-1, size, *rows.shape[1:])
