"""Training rows in chunks, and sums and maps over them.

Everything that the purifier needs of the training rows is a sum over rows. Taking it chunk by chunk bounds
the memory of what is made on the way; small problems are one chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# Entries [classifiers, classes, rows] of an intermediate result that one chunk may have.
CHUNK_ENTRIES = 2**25


class Training(NamedTuple):
    """The training rows, in q chunks of b rows; the last one may end in padding of weight 0.

    Attributes:
        features: standardised, [q, b, d].
        given: given labels as distributions [q, b, c].
        weight: row weights [q, b].
    """

    features: jax.Array
    given: jax.Array
    weight: jax.Array


def split(features: jax.Array, given: jax.Array, weight: jax.Array, entries_per_row: int) -> Training:
    """Rows [n, ...] in as few chunks as `CHUNK_ENTRIES` allows.

    Args:
        features: [n, d].
        given: [n, c].
        weight: [n].
        entries_per_row: entries of the largest intermediate result per row.
    """
    count = features.shape[0]
    chunks = max(1, -(-count * entries_per_row // CHUNK_ENTRIES))
    size = -(-count // chunks)

    def cut(rows):
        rows = jnp.pad(rows, [(0, chunks * size - count)] + [(0, 0)] * (rows.ndim - 1))
        return rows.reshape(chunks, size, *rows.shape[1:])

    return Training(cut(features), cut(given), cut(weight))


def sum_over(function: Callable[[Training], Any], train: Training) -> Any:
    """Sum over chunks of what `function` makes of a chunk (features [b, d], ...): a pytree of arrays."""
    first = jax.tree.map(lambda rows: rows[0], train)
    if train.weight.shape[0] == 1:
        return function(first)

    def body(total, chunk):
        return jax.tree.map(jnp.add, total, function(chunk)), None

    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, first))
    return jax.lax.scan(body, zero, train)[0]


def map_over(function: Callable[[Training], jax.Array], train: Training) -> jax.Array:
    """What `function` makes of every chunk [b, ...], as rows [q * b, ...], padding included."""
    parts = jax.lax.map(function, train)
    return parts.reshape(-1, *parts.shape[2:])
