"""Streams training data larger than memory: the host fetches rows while the devices work on earlier ones.

A source is an array-like [n, ...] with a method `start(rows)`, which begins to fetch rows [...] and returns
a function that waits for them; `data.images.lazy.ImageFiles` is one. All other data are arrays, kept on the
devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def is_source(leaf: Any) -> bool:
    """Whether `leaf` is a source, whose rows are fetched when they are needed."""
    return hasattr(leaf, "start")


def split(data: Any) -> tuple[Any, Any]:
    """Splits a pytree into its arrays and its sources, each with None in place of the other kind."""
    arrays = jax.tree.map(lambda leaf: None if is_source(leaf) else leaf, data)
    sources = jax.tree.map(lambda leaf: leaf if is_source(leaf) else None, data)
    return arrays, sources


def start(sources: Any, indices: Any) -> Callable[[], Any]:
    """Begins to fetch the rows of a plan's `indices`; calling the result waits for them.

    Args:
        sources: from `split`.
        indices: row indices [...], or a dict of such arrays.

    Returns:
        A function without arguments. Its result has the structure of `indices`, with each array replaced by a
        pytree like `sources` that holds the fetched rows.
    """
    waits = jax.tree.map(lambda index: jax.tree.map(lambda s: s.start(np.asarray(index)), sources), indices)
    return lambda: jax.tree.map(lambda wait: wait(), waits)


def gather(data: Any, fetched: Any, index: jax.Array) -> Any:
    """Selects rows `index` [b] of the arrays in `data`; fills in the `fetched` rows in place of sources."""
    return jax.tree.map(
        lambda values, rows: rows if values is None else values[index],
        data,
        fetched,
        is_leaf=lambda leaf: leaf is None,
    )
