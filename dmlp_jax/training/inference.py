"""A function of single rows over all rows of a data set, batch by batch and on every device."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlp_jax.training import parallel

BATCH = 1000


def over_rows(
    function: Callable[..., jax.Array], arrays: tuple[np.ndarray, ...], devices: list[jax.Device]
) -> Callable[[Any], np.ndarray]:
    """`state -> function(state, *arrays)`, computed for a few rows at a time.

    The rows are put on the devices once, each device getting its share of every batch.

    Args:
        function: of the state and rows [b, ...] of each array; its values [b, ...] do not depend on other
            rows.
        arrays: [n, ...], n at least 1.
        devices: to run on.

    Returns:
        A function of the unreplicated state, with values [n, ...].
    """
    rows = len(arrays[0])
    size = -(-min(BATCH, rows) // len(devices)) * len(devices)
    mesh = Mesh(np.array(devices), (parallel.AXIS,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    spread = NamedSharding(mesh, PartitionSpec(parallel.AXIS))

    def batches(array):
        padded = np.concatenate([array, np.repeat(array[-1:], -rows % size, axis=0)])
        return [jax.device_put(part, spread) for part in padded.reshape(-1, size, *array.shape[1:])]

    placed = list(zip(*(batches(array) for array in arrays), strict=True))
    compiled = jax.jit(function)

    def evaluate(state):
        state = jax.device_put(state, everywhere)
        values = [compiled(state, *parts) for parts in placed]
        return np.concatenate([np.asarray(value) for value in values])[:rows]

    return evaluate
