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
from dmlp_jax.purifier.base.ridge import HIGHEST, matmul
from dmlp_jax.purifier.rows import copies, outliers, scaling
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


def load(
    features: jax.Array | Reader,
    given: jax.Array,
    weight: jax.Array,
    num_classes: int,
    entries_per_row: int,
    axis: tuple[str, ...] | None = None,
    clean: jax.Array | None = None,
) -> Training:
    """Standardises rows and cuts them into chunks. Rows are read once, or twice where there are outliers.

    Args:
        features: [n, d], or their reader.
        given: class indices [n] or distributions [n, c].
        weight: [n].
        num_classes: c.
        entries_per_row: entries of the largest intermediate result per row; a reader has its own chunks.
        axis: names of the mesh axes over which the rows are spread, inside `jax.shard_map`.
        clean: features of the clean rows [m, d]: training rows may be copies of them, and outliers are told
            by their distance from the middle of them. None for none.
    """
    reader = features if isinstance(features, Reader) else None
    count = features.shape[0]
    size = reader.rows if reader else chunk_rows(count, entries_per_row)
    weights = into_chunks(weight, size)
    middle = jnp.zeros(features.shape[1]) if clean is None else outliers.location(clean)
    known = None if clean is None else copies.of_clean_rows(clean)

    def look(function):
        if isinstance(features, Reader):
            leaves = jnp.arange(len(weights)), weights
            places, sums = _scan(lambda rows: function(features.fetch(rows[0]), rows[1]), leaves)
            return None if places is None else places.reshape(-1), sums
        return _in_blocks(function, features, weight, size)

    places, sums = look(lambda rows, weight: _survey(rows, weight, middle, known))
    if not isinstance(features, Reader):
        # One product over all rows; those of the chunks would be rounded in another way.
        sums = sums._replace(features=jnp.einsum("b,bd->d", weight, features, precision=HIGHEST))
    sums = _over_devices(sums, axis)
    power = outliers.largest_power(sums.powers)
    bound = outliers.bound(power)
    mean, length, absurd = _robust_mean(look, sums, middle, bound, axis)
    if known is not None:
        weights = _without_copies(weights, into_chunks(places, size), known, sums, axis)
    diagnostics = {
        "copies": jnp.sum(sums.copies),
        "outlier_rows": jnp.sum(jnp.where(jnp.arange(outliers.POWERS) > power, sums.powers, 0)),
        "outlier_values": absurd,
        "train_length": length,
    }
    standard = (
        None
        if isinstance(features, Reader)
        else into_chunks(scaling.center_and_normalize(features, mean, bound), size)
    )
    # Padding needs a valid given label, or its posterior would be 0 / 0.
    given = into_chunks(given, size, 1.0 / num_classes if given.ndim == 2 else 0)
    return Training(standard, given, weights, mean, bound, diagnostics, num_classes, reader, axis)


class _Survey(NamedTuple):
    """What is found out about rows [b, d] before anything else.

    Attributes:
        features: weighted sum [d].
        weight: sum of the weights.
        squares: weighted sum of the squared distances from the middle of the clean rows.
        powers: number of rows by magnitude, see `outliers.histogram`.
        copies: number of copies of each clean row that stands first, see `CleanHashes`, [m] int32.
    """

    features: jax.Array
    weight: jax.Array
    squares: jax.Array
    powers: jax.Array
    copies: jax.Array


def _survey(
    features: jax.Array, weight: jax.Array, middle: jax.Array, known: copies.CleanHashes | None
) -> tuple[jax.Array | None, _Survey]:
    """The places [b] of rows [b, d] among hashes of clean rows, see `copies.find`; sums over rows."""
    powers = outliers.histogram(features, weight > 0, middle)
    squares = jnp.dot(weight, jnp.sum((features - middle) ** 2, axis=1), precision=HIGHEST)
    total = jnp.einsum("b,bd->d", weight, features, precision=HIGHEST), jnp.sum(weight), squares, powers
    if known is None:
        return None, _Survey(*total, jnp.zeros(1, jnp.int32))
    places = copies.find(known, *copies.hashes(features))
    return places, _Survey(*total, copies.count(places, weight > 0, known.rows.shape[0]))


def _robust_mean(
    look: Callable[[Callable], tuple[Any, Any]],
    sums: _Survey,
    middle: jax.Array,
    bound: jax.Array,
    axis: tuple[str, ...] | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The mean [d] of the values within `bound` of the middle, the root mean square length of centred rows.

    Third comes the number of other values, int32. Without outliers the mean is that of all, and the rows are
    not read again.
    """
    tiny = jnp.finfo(jnp.float32).tiny

    def ordinary(rows, weight):
        within = jnp.abs(rows - middle) <= bound
        total = jnp.einsum("b,bd->d", weight, jnp.where(within, rows, 0.0), precision=HIGHEST)
        counts = jnp.einsum("b,bd->d", weight, within.astype(weight.dtype), precision=HIGHEST)
        squares = jnp.sum(jnp.where(within, (rows - middle) ** 2, 0.0), axis=1)
        absurd = jnp.sum(~within & (weight > 0)[:, None], dtype=jnp.int32)
        return None, (total, counts, jnp.dot(weight, squares, precision=HIGHEST), absurd)

    zeros = jnp.zeros_like(middle), jnp.zeros_like(middle), jnp.float32(0), jnp.int32(0)
    found = jax.lax.cond(jnp.isfinite(bound), lambda: look(ordinary)[1], lambda: zeros)
    total, counts, squares, absurd = _over_devices(found, axis)
    without = jnp.where(counts > 0, total / jnp.maximum(counts, tiny), middle)
    mean = sums.features / jnp.maximum(sums.weight, tiny)
    mean = jnp.where(jnp.isfinite(bound), without, mean)
    squares = jnp.where(jnp.isfinite(bound), squares, sums.squares) / jnp.maximum(sums.weight, tiny)
    length = jnp.sqrt(jnp.maximum(squares - jnp.sum((mean - middle) ** 2), 0.0))
    return mean, length, absurd


def _without_copies(
    weights: jax.Array,
    places: jax.Array,
    known: copies.CleanHashes,
    sums: _Survey,
    axis: tuple[str, ...] | None,
) -> jax.Array:
    """Weights [q, b], less where rows are copies of clean rows, unless hardly any other row is left."""
    less = weights * copies.factors(known, sums.copies, places)
    left = _over_devices(jnp.sum(less), axis)
    return jnp.where(left >= copies.LEAST_SHARE * sums.weight, less, weights)


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
    kept, total = _scan(
        lambda leaves: function(_chunk(train, *leaves[0]), leaves[1]), (_leaves(train), extra)
    )
    kept = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept)
    return kept, _over_devices(total, train.axis)


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


def _scan(function: Callable[[Any], tuple[Any, Any]], leaves: Any) -> tuple[Any, Any]:
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


def _in_blocks(
    function: Callable[[jax.Array, jax.Array], tuple[Any, Any]],
    features: jax.Array,
    weight: jax.Array,
    size: int,
) -> tuple[Any, Any]:
    """Calls `function` on blocks of rows in memory; joins its first results and sums the second.

    So intermediate results are those of a block, and nothing as large as all rows is made.

    Args:
        function: of rows [b, d] and weights [b]; returns an array [b] or None, and a pytree of sums.
        features: [n, d].
        weight: [n].
        size: rows of a block; the last one may have fewer.
    """
    full, rest = divmod(features.shape[0], size)

    def of_block(start):
        rows = jax.lax.dynamic_slice_in_dim(features, start, size)
        return function(rows, jax.lax.dynamic_slice_in_dim(weight, start, size))

    kept, total = _scan(of_block, jnp.arange(full) * size)
    kept = None if kept is None else kept.reshape(-1)
    if rest:
        last, part = function(features[full * size :], weight[full * size :])
        kept = None if kept is None else jnp.concatenate([kept, last])
        total = jax.tree.map(jnp.add, total, part)
    return kept, total


def _over_devices(total: Any, axis: tuple[str, ...] | None) -> Any:
    return total if axis is None else jax.lax.psum(total, axis)
