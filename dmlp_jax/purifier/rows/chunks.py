"""Holds training rows in chunks, and takes sums and maps over them.

Everything that the purifier needs of the training rows is a sum over rows, or a map over them at the end.
Chunk by chunk, intermediate results are bounded in memory and stay in the processor's cache. The rows may be
in memory, on disk (`reader`), or spread over devices (`axis`, the mesh axes of a `jax.shard_map` around the
whole program: each device takes its own rows, and sums are added up over devices).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.rows import scaling
from dmlp_jax.purifier.rows.disk import Reader

# Entries [classifiers, classes, rows] of an intermediate result of one chunk: what fits into memory on an
# accelerator, what fits into the second-level cache on a CPU.
CHUNK_ENTRIES = 2**25
CHUNK_ENTRIES_CPU = 2**18
# Least rows of a chunk: with many classes the limits above would leave too few for matrix products.
LEAST_ROWS = 256


class Chunk(NamedTuple):
    """A chunk of training rows; padding has weight 0.

    Attributes:
        features: standardised, [b, d + 1].
        given: given labels as distributions [b, c].
        weight: row weights [b].
    """

    features: jax.Array
    given: jax.Array
    weight: jax.Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["features", "given", "weight", "mean", "bound", "diagnostics"],
    meta_fields=["num_classes", "reader", "axis"],
)
@dataclasses.dataclass(frozen=True)
class Training:
    """The training rows, in q chunks of b rows; the last ones may end in padding of weight 0.

    Attributes:
        features: standardised, [q, b, d + 1]; None where `reader` has them.
        given: given labels, class indices [q, b] or distributions [q, b, c].
        weight: row weights [q, b]; less for copies of clean rows, see `copies.py`.
        mean: mean of the features before standardisation, [d].
        bound: distance from the mean beyond which a value counts as missing, scalar; see `outliers.py`.
        diagnostics: numbers about the rows, see `PurifyResult.diagnostics`.
        num_classes: c.
        reader: reads features from disk chunk by chunk; None for features in memory.
        axis: names of the mesh axes over which the rows are spread, or None.
    """

    features: jax.Array | None
    given: jax.Array
    weight: jax.Array
    mean: jax.Array
    bound: jax.Array
    diagnostics: dict[str, jax.Array]
    num_classes: int
    reader: Reader | None
    axis: tuple[str, ...] | None


def chunk_rows(count: int, entries_per_row: int) -> int:
    """Rows of a chunk: as many as `CHUNK_ENTRIES` allows of `count`, but `LEAST_ROWS` at least.

    Args:
        count: n.
        entries_per_row: entries of the largest intermediate result per row.
    """
    budget = CHUNK_ENTRIES_CPU if jax.default_backend() == "cpu" else CHUNK_ENTRIES
    chunks = -(-count // max(budget // entries_per_row, LEAST_ROWS))
    return -(-count // chunks)


def visit(
    function: Callable[[Chunk, Any], tuple[Any, Any]], train: Training, rows: Any = None
) -> tuple[Any, Any]:
    """Calls `function` on every chunk, in order, and on the chunk's part of `rows`.

    Args:
        function: returns two pytrees; the first, arrays [b, ...], is kept row by row, the second is summed.
        train: the training rows.
        rows: further arrays over the training rows, [n, ...], or None.

    Returns:
        The first results, arrays [q * b, ...], padding included, on the device of their features; and the
        sums over all rows of all devices.
    """
    extra = jax.tree.map(lambda leaf: into_chunks(leaf, train.weight.shape[1]), rows)
    kept, total = scan(lambda leaves: function(_chunk(train, *leaves[0]), leaves[1]), (_leaves(train), extra))
    kept = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept)
    return kept, over_devices(total, train.axis)


def sum_over(function: Callable[[Chunk], Any], train: Training) -> Any:
    """Sum of `function(chunk)`, a pytree of arrays, over all chunks of all devices."""
    return visit(lambda chunk, _: (None, function(chunk)), train)[1]


def map_over(function: Callable[[Chunk], Any], train: Training) -> Any:
    """Joins `function(chunk)`, arrays [b, ...], of all chunks to arrays [q * b, ...]; see `visit`."""
    return visit(lambda chunk, _: (function(chunk), None), train)[0]


def moments(chunk: Chunk) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gram matrix F^T F [d, d], moment F^T Y of the given labels [d, c], sum of the row weights."""
    weighted = chunk.weight[:, None] * chunk.features
    return matmul(weighted.T, chunk.features), matmul(weighted.T, chunk.given), jnp.sum(chunk.weight)


def _leaves(train: Training) -> tuple[jax.Array | None, jax.Array, jax.Array]:
    """Arrays with a leading axis over chunks: features (or the chunk's number), given labels, weights."""
    features = jnp.arange(train.weight.shape[0]) if train.reader else train.features
    return features, train.given, train.weight


def _chunk(train: Training, features: jax.Array, given: jax.Array, weight: jax.Array) -> Chunk:
    if train.reader:
        features = scaling.center_and_normalize(train.reader.fetch(features), train.mean, train.bound)
    if given.ndim == 1:
        given = jax.nn.one_hot(given, train.num_classes, dtype=jnp.float32)
    return Chunk(features, given, weight)


def scan(function: Callable[[Any], tuple[Any, Any]], leaves: Any) -> tuple[Any, Any]:
    """Calls `function` on the leaves at every index; stacks its first results and sums the second."""
    first = jax.tree.map(lambda leaf: leaf[0], leaves)
    if jax.tree.leaves(leaves)[0].shape[0] == 1:
        kept, total = function(first)
        return jax.tree.map(lambda rows: rows[None], kept), total

    def body(total, rows):
        kept, part = function(rows)
        return jax.tree.map(jnp.add, total, part), kept

    shapes = jax.eval_shape(function, first)[1]
    total, kept = jax.lax.scan(
        body, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes), leaves
    )
    return kept, total


def over_devices(total: Any, axis: tuple[str, ...] | None) -> Any:
    """Sums of a pytree over the devices of mesh axes; the pytree itself without axes."""
    return total if axis is None else jax.lax.psum(total, axis)
