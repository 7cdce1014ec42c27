"""Finds training rows that are copies of clean rows, so that no row counts twice, and equal clean rows.

Clean rows are often drawn from the training rows and left there. Such a row would count with its given label
and with its true one. Copies have the same features to the last bit, in float32. They are found by hashes of
64 bits, sums of integers that do not depend on chunks. Two different rows out of a million share one with a
probability below 1e-7.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Share of the rows' weight that must be left. Else the training rows are all copies, and none is left out.
LEAST_SHARE = 0.01


class CleanHashes(NamedTuple):
    """Hashes of the clean rows in ascending order, [m] uint32 each; equal rows stand together.

    Attributes:
        high: the more significant half.
        low: the other half.
        rows: number of clean rows of this hash where it stands first, else 0, [m] int32.
    """

    high: jax.Array
    low: jax.Array
    rows: jax.Array


def hashes(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Hashes of rows [b, d], float32, in two halves [b] uint32."""
    # Zero has two signs.
    bits = jax.lax.bitcast_convert_type(jnp.where(rows == 0, 0.0, rows), jnp.uint32)
    column = jnp.arange(rows.shape[1], dtype=jnp.uint32)
    mixed = _mix(bits ^ _mix(column + jnp.uint32(0x9E3779B9)))
    odd = 2 * _mix(column + jnp.uint32(0x7F4A7C15)) + 1
    return jnp.sum(mixed, axis=1, dtype=jnp.uint32), jnp.sum(mixed * odd, axis=1, dtype=jnp.uint32)


def of_clean_rows(rows: jax.Array, real: jax.Array) -> CleanHashes:
    """The hashes of clean rows [m, d], float32.

    Args:
        rows: [m, d].
        real: whether a row is one, bool [m]; padding counts for nothing. It must be a copy of a clean row:
            training rows that are copies of it would be counted among the copies.
    """
    # XLA would sort constants while it compiles, which takes it minutes.
    keys = jax.lax.optimization_barrier((*hashes(rows), real))
    high, low, real = jax.lax.sort(keys, num_keys=2)
    alone = CleanHashes(high, low, jnp.zeros(rows.shape[0], jnp.int32))
    return alone._replace(rows=count(find(alone, high, low), real, rows.shape[0]))


def firsts(rows: jax.Array, real: jax.Array) -> jax.Array:
    """The number of the first of the clean rows [m, d] that are equal to each, [m] int32; padding's own."""
    size = rows.shape[0]
    itself = jnp.arange(size, dtype=jnp.int32)
    high, low = hashes(rows)
    place = find(of_clean_rows(rows, real), high, low)
    first = jnp.full(size, size, jnp.int32).at[jnp.where(real, place, size)].min(itself, mode="drop")
    return jnp.where(real, first[place], itself)


def find(clean: CleanHashes, high: jax.Array, low: jax.Array) -> jax.Array:
    """First position [b] in `clean` of hashes [b]; m where there is none."""
    size = clean.high.shape[0]

    def halve(_, bracket):
        # All before `start` are smaller, none from `end` on is.
        start, end = bracket
        middle = (start + end) // 2
        at = jnp.minimum(middle, size - 1)
        smaller = (clean.high[at] < high) | ((clean.high[at] == high) & (clean.low[at] < low))
        smaller &= start < end
        return jnp.where(smaller, middle + 1, start), jnp.where(smaller, end, middle)

    whole = jnp.zeros_like(high, jnp.int32), jnp.full_like(high, size, jnp.int32)
    found = jax.lax.fori_loop(0, size.bit_length(), halve, whole)[0]
    at = jnp.minimum(found, size - 1)
    return jnp.where((clean.high[at] == high) & (clean.low[at] == low), found, size)


def count(positions: jax.Array, counted: jax.Array, size: int) -> jax.Array:
    """How many counted rows [b] have each position, [size] int32; a position of `size` is none."""
    return jnp.zeros(size, jnp.int32).at[positions].add(counted.astype(jnp.int32), mode="drop")


def factors(clean: CleanHashes, copies: jax.Array, positions: jax.Array) -> jax.Array:
    """Factors [b] of the weights of training rows: of s copies of r clean rows each counts 1 - r / s, or 0.

    Args:
        clean: hashes of the clean rows.
        copies: s, number of training rows at each position [m].
        positions: of the training rows, see `find`.
    """
    share = clean.rows / jnp.maximum(copies, 1)
    left = jnp.maximum(1.0 - share, 0.0).astype(jnp.float32)
    size = left.shape[0]
    return jnp.where(positions < size, left[jnp.minimum(positions, size - 1)], 1.0)


def _mix(bits: jax.Array) -> jax.Array:
    """Mixes bits, uint32: the last steps of MurmurHash3 (Appleby 2011)."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
