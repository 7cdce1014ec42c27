"""Takes a sample of the training rows, and holds out one vote of each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.rows import sample
from dmlp_jax.purifier.rows.chunks import Chunk, Training

# Most training rows to which the numbers are fitted, and the number of clean rows that they are worth.
SAMPLE_ROWS = 4096
SAMPLE_WORTH = 200.0


class Sample(NamedTuple):
    """Training rows to which the numbers of the model are fitted.

    Attributes:
        chunk: features [s, d + 1] and weights [s]; given labels are not used.
        similarities: k(x), [s, p + 1].
        votes: [s, a].
        held: one vote of each row, drawn in turn, [s, a]; -1 elsewhere.
        weight: what each row counts for in the fit, [s]; 0 for places without a row.
    """

    chunk: Chunk
    similarities: jax.Array
    votes: jax.Array
    held: jax.Array
    weight: jax.Array


def take(train: Training, kernel: kernel_lib.Kernel | None, votes: jax.Array, count: int) -> Sample:
    """Takes the sample, evenly from all training rows; every row holds out one of its votes in turn.

    Args:
        train: the training rows.
        kernel: of ridge regression, or None.
        votes: of the training rows, [n, a].
        count: number of training rows on this device.
    """
    place, size = sample.places(train, count, SAMPLE_ROWS)
    # An empty place sums to 0 and becomes -1, no vote.
    features, weight, used, raised = sample.gather(train, place, size, votes + 1)
    some = jnp.round(raised).astype(jnp.int32) - 1
    known = some >= 0
    number = jnp.sum(known, axis=1)
    turn = jnp.mod(jnp.arange(size), jnp.maximum(number, 1))
    held = known & (jnp.cumsum(known, axis=1) - 1 == turn[:, None])
    counted = used * weight * (number > 0)
    counted *= SAMPLE_WORTH / jnp.maximum(jnp.sum(counted), 1e-6)
    return Sample(
        Chunk(features, jnp.zeros((size, 0)), weight),
        kernel_lib.similarities(kernel, features),
        some,
        jnp.where(held, some, votes_lib.NONE),
        counted,
    )
