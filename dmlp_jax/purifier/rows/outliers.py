"""Finds values far beyond all others, such as 1e20 for a missing number, and a bound to tell them by.

One such value would move the mean of all rows and take over its own row. The bound comes from a histogram of
the rows' magnitudes by powers of two, which is a sum over rows. It lies in a gap: heavy tails have values of
every magnitude, what stands for no number has none beside it. Values beyond the bound count as missing: they
are left out of the mean and lie at it. Ordinary rows have no gap, so their bound is infinite.
"""

import jax
import jax.numpy as jnp

# Powers of two without any row below the magnitude of outliers: those are 16 times as large as all others.
GAP = 4
# Largest share of the rows that are outliers; more of them are no mistake but another kind of row.
MOST = 1 / 8
# Powers of two of float32, denormal numbers and infinity among them.
POWERS = 256
# Most clean rows whose median is taken.
MEDIAN_ROWS = 128
# The power of two of 1 in the exponent's bits.
ONE = 127


def location(rows: jax.Array, real: jax.Array) -> jax.Array:
    """A place amid rows [m, d] that no single one can move far: the median of each column, [d].

    Of an even number it is the middle value nearer to 0: of two rows one may be absurd. Every k-th of many
    rows is enough.

    Args:
        rows: [m, d].
        real: whether a row is one, bool [m]; padding comes last and counts for nothing.
    """
    count = jnp.sum(real, dtype=jnp.int32)
    stride = -(-count // MEDIAN_ROWS)
    index = jnp.arange(min(rows.shape[0], MEDIAN_ROWS)) * stride
    # XLA would sort constants while it compiles, which takes it minutes.
    some = jax.lax.optimization_barrier(rows[jnp.minimum(index, count - 1)])
    ordered = jnp.sort(jnp.where((index < count)[:, None], some, jnp.inf), axis=0)
    taken = -(-count // stride)
    below, above = ordered[(taken - 1) // 2], ordered[taken // 2]
    return jnp.where(jnp.abs(below) <= jnp.abs(above), below, above)


def histogram(rows: jax.Array, counted: jax.Array, place: jax.Array) -> jax.Array:
    """Number of counted rows by the power of two of their largest distance from a place in a column.

    Returns int32 [POWERS]. Rows at the place have no magnitude and are left out.

    Args:
        rows: [b, d].
        counted: whether a row counts, bool [b].
        place: [d].
    """
    magnitude = jnp.max(jnp.abs(rows - place), axis=1)
    power = jax.lax.bitcast_convert_type(magnitude, jnp.uint32).astype(jnp.int32) >> 23
    power = jnp.where(counted & (magnitude > 0), power, -1)
    return jnp.sum(power[:, None] == jnp.arange(POWERS), axis=0, dtype=jnp.int32)


def largest_power(powers: jax.Array) -> jax.Array:
    """The largest power of two of ordinary rows, of a histogram [POWERS]; POWERS where none is an outlier."""
    index = jnp.arange(POWERS)
    filled = powers > 0
    before = jnp.concatenate([jnp.full(1, -1), jax.lax.cummax(jnp.where(filled, index, -1))[:-1]])
    above = jnp.cumsum(powers[::-1])[::-1]
    rows = above[0]
    gap = filled & (before >= 0) & (index - before - 1 >= GAP) & (above <= MOST * rows)
    return jnp.where(jnp.any(gap), before[jnp.argmax(gap)], POWERS)


def bound(power: jax.Array) -> jax.Array:
    """Distance from the mean beyond which a value is an outlier, scalar; infinite where no row is.

    Args:
        power: see `largest_power`.
    """
    # Twice as far as ordinary rows are from the place of the histogram, since the mean is another place.
    twice = jnp.ldexp(jnp.float32(1), jnp.minimum(power, POWERS - GAP - 2) - ONE + 2)
    return jnp.where(power < POWERS, twice, jnp.inf)


def mend(rows: jax.Array, mean: jax.Array, limit: jax.Array, real: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Clean rows [m, d] with outliers set to the mean, and the number of rows that had some, int32.

    Clean rows of another scale are no outliers, so these rows have a bound of their own beside that of the
    training rows.

    Args:
        rows: [m, d].
        mean: of the training rows, [d].
        limit: the bound of the training rows.
        real: whether a row is one, bool [m]; padding comes last and counts for nothing.
    """
    place = location(rows, real)
    own = bound(largest_power(histogram(rows, real, place)))
    absurd = (jnp.abs(rows - mean) > limit) | (jnp.abs(rows - place) > own)
    return jnp.where(absurd, mean, rows), jnp.sum(jnp.any(absurd, axis=1) & real, dtype=jnp.int32)
