"""A function of single rows over all rows of a data set, batch by batch, on every device of every process."""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlp_jax.data import prefetch
from dmlp_jax.training import parallel, streaming

BATCH = 1000
# Batches whose values may wait on the devices.
_PENDING = 4


def over_rows(
    function: Callable[..., jax.Array],
    arrays: tuple[Any, ...],
    devices: list[jax.Device],
    batch_size: int | None = None,
) -> Callable[[Any], np.ndarray]:
    """`state -> function(state, *arrays)`, computed for a few rows at a time.

    Arrays are put on the devices once, each device getting its share of every batch; rows of sources
    (`streaming`) are fetched whenever they are needed. Several processes share the rows and exchange the
    values.

    Args:
        function: of the state and rows [b, ...] of each array; its values [b, ...] do not depend on other
            rows.
        arrays: [n, ...], n at least 1; or sources.
        devices: this process's, to run on.
        batch_size: rows at a time in this process; None for BATCH.

    Returns:
        A function of the unreplicated state, with values [n, ...], the same in every process.
    """
    rows, processes = len(arrays[0]), jax.process_count()
    share = -(-rows // processes)
    size = -(-min(batch_size or BATCH, share) // len(devices)) * len(devices)
    count = -(-share // size)
    # The last row fills up the last batch, and the shares of processes that get none.
    own = np.minimum(jax.process_index() * share + np.arange(count * size), rows - 1)
    batches = list(enumerate(own.reshape(count, size)))
    mesh = Mesh(np.array(devices), (parallel.AXIS,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    spread = NamedSharding(mesh, PartitionSpec(parallel.AXIS))

    placed: list[Any] = [
        None if streaming.is_source(array) else [jax.device_put(array[rows], spread) for _, rows in batches]
        for array in arrays
    ]
    compiled = jax.jit(function)

    def start(batch):
        return [array.start(batch[1]) if streaming.is_source(array) else None for array in arrays]

    def evaluate(state):
        state = jax.device_put(state, everywhere)
        pending: deque[jax.Array] = deque()
        done: list[np.ndarray] = []
        for (number, _), waits in prefetch.ahead(batches, start):
            inputs = [
                parts[number] if wait is None else jax.device_put(wait(), spread)
                for parts, wait in zip(placed, waits, strict=True)
            ]
            pending.append(compiled(state, *inputs))
            if len(pending) > _PENDING:
                done.append(np.asarray(pending.popleft()))
        values = np.concatenate([*done, *map(np.asarray, pending)])[:share]
        if processes > 1:
            values = np.asarray(multihost_utils.process_allgather(values, tiled=True))
        return values[:rows]

    return evaluate
