"""Loads training rows: finds outliers and copies of clean rows, standardises, cuts into chunks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.rows import chunks, copies, outliers, scaling
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.disk import Reader


def load(
    features: jax.Array | Reader,
    given: jax.Array,
    weight: jax.Array,
    num_classes: int,
    entries_per_row: int,
    axis: tuple[str, ...] | None = None,
    clean: jax.Array | None = None,
    real: jax.Array | None = None,
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
        real: whether a clean row is one and no padding, bool [m]; by default all are.
    """
    reader = features if isinstance(features, Reader) else None
    count = features.shape[0]
    size = reader.rows if reader else chunks.chunk_rows(count, entries_per_row)
    weights = into_chunks(weight, size)
    middle, known = jnp.zeros(features.shape[1]), None
    if clean is not None:
        real = jnp.ones(clean.shape[0], bool) if real is None else real
        middle, known = outliers.location(clean, real), copies.of_clean_rows(clean, real)

    def look(function):
        if isinstance(features, Reader):
            leaves = jnp.arange(len(weights)), weights
            places, sums = chunks.scan(lambda rows: function(features.fetch(rows[0]), rows[1]), leaves)
            return None if places is None else places.reshape(-1), sums
        return _in_blocks(function, features, weight, size)

    places, sums = look(lambda rows, weight: _survey(rows, weight, middle, known))
    if not isinstance(features, Reader):
        # One product over all rows; those of the chunks would be rounded in another way.
        sums = sums._replace(features=jnp.einsum("b,bd->d", weight, features, precision=HIGHEST))
    sums = chunks.over_devices(sums, axis)
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
    total, counts, squares, absurd = chunks.over_devices(found, axis)
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
    left = chunks.over_devices(jnp.sum(less), axis)
    return jnp.where(left >= copies.LEAST_SHARE * sums.weight, less, weights)


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

    kept, total = chunks.scan(of_block, jnp.arange(full) * size)
    kept = None if kept is None else kept.reshape(-1)
    if rest:
        last, part = function(features[full * size :], weight[full * size :])
        kept = None if kept is None else jnp.concatenate([kept, last])
        total = jax.tree.map(jnp.add, total, part)
    return kept, total
