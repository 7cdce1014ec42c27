"""Helpers for trees of arrays."""

from typing import Any

import jax


def at(tree: Any, index: jax.Array | int) -> Any:
    """Leaves [s, ...] at one index of their first axis."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 0, keepdims=False), tree)
