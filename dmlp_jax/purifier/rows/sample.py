"""Takes a sample of the training rows, evenly from all over them, the same over any number of devices."""

from typing import Any

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows.chunks import Training

# Fractions of its multiples fill [0, 1) evenly.
GOLDEN = 0.618034


def places(train: Training, count: int, most: int, one_in: int = 1) -> tuple[jax.Array, int]:
    """The place of each training row in the sample, and the number of places.

    Args:
        train: the training rows.
        count: their number on this device; the last ones may be padding of weight 0.
        most: most rows of the sample.
        one_in: at most one in so many training rows is in the sample.

    Returns:
        Places [q * b] int32, padding included; a row that is not in the sample has the number of places.
    """
    devices = 1 if train.axis is None else jax.lax.axis_size(train.axis)
    first = 0 if train.axis is None else count * jax.lax.axis_index(train.axis)
    weight = train.weight.reshape(-1)
    last = jnp.max(jnp.where(weight > 0, first + jnp.arange(1, len(weight) + 1), 1))
    total = last if train.axis is None else jax.lax.pmax(last, train.axis)
    size = max(1, min(most, count * devices // one_in))
    number = jnp.clip(total // one_in, 1, size)
    order = jnp.arange(size)
    # One row of each of `number` equal parts of the rows, not always the first: rows may come in periods.
    rows = ((order + jnp.mod(order * GOLDEN, 1.0)) / number * total).astype(jnp.int32) - first
    here = (order < number) & (rows >= 0) & (rows < count)
    place = jnp.full(len(weight), size, jnp.int32)
    return place.at[jnp.where(here, rows, len(weight))].set(order, mode="drop"), size


def gather(train: Training, place: jax.Array, size: int, extra: Any = None) -> tuple[jax.Array, ...]:
    """The rows of the sample: standardised features [s, d + 1], weights [s], 1 where a place is taken [s].

    With `extra`, an array [n, a] over the training rows, its rows [s, a] come last, as float32.

    Args:
        train: the training rows.
        place: see `places`.
        size: s.
        extra: see above.
    """

    def pick(chunk, rows):
        place, extra = rows
        values = [chunk.features, chunk.weight, jnp.ones(place.shape)]
        if extra is not None:
            values.append(extra.astype(jnp.float32))
        return None, tuple(jax.ops.segment_sum(value, place, size + 1)[:-1] for value in values)

    return chunks.visit(pick, train, (place, extra))[1]
