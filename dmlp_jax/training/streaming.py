"""Training data that do not fit into memory: rows fetched on the host while the devices work on earlier ones.

A source is an array-like [n, ...] with a method `start(rows)`, which begins to fetch rows [...] and returns
a function that waits for them; `data.lazy.ImageFiles` is one. All else is an array, kept on the devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def is_source(leaf: Any) -> bool:
    """Whether rows of `leaf` are fetched when they are needed."""
    return hasattr(leaf, "start")


def split(data: Any) -> tuple[Any, Any]:
    """The arrays of a pytree and its sources, each with None in the place of the others."""
    arrays = jax.tree.map(lambda leaf: None if is_source(leaf) else leaf, data)
    sources = jax.tree.map(lambda leaf: leaf if is_source(leaf) else None, data)
    return arrays, sources


def start(sources: Any, indices: Any) -> Callable[[], Any]:
    """Begins to fetch the rows of a plan's `indices`, and returns what waits for them.

    Args:
        sources: from `split`.
        indices: rows [...], or a dict of such arrays.

    Returns:
        A function without arguments; its result has the structure of `indices` with that of `sources` in
        place of each array, and the rows [..., ...] in it.
    """
    waits = jax.tree.map(lambda index: jax.tree.map(lambda s: s.start(np.asarray(index)), sources), indices)
    return lambda: jax.tree.map(lambda wait: wait(), waits)


def gather(data: Any, fetched: Any, index: jax.Array) -> Any:
    """The rows `index` [b] of the arrays in `data`, and where sources were the rows fetched for them."""
    return jax.tree.map(
        lambda values, rows: rows if values is None else values[index],
        data,
        fetched,
        is_leaf=lambda leaf: leaf is None,
    )
