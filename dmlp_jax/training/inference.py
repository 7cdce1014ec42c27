"""Evaluates a row-wise function on all rows of a data set, in batches, on all devices of all processes."""

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
# Number of batches whose results may stay on the devices before they are copied to the host.
_PENDING = 4


def over_rows(
    function: Callable[..., jax.Array],
    arrays: tuple[Any, ...],
    devices: list[jax.Device],
    batch_size: int | None = None,
) -> Callable[[Any], np.ndarray]:
    """Returns a function that computes `function(state, *arrays)` in batches.

    Arrays are copied to the devices once, each device receiving its share of every batch. Rows of sources
    (see `streaming`) are fetched when they are needed. Several processes divide the rows among themselves and
    exchange the results.

    Args:
        function: maps the state and rows [b, ...] of each array to values [b, ...]; each value depends on its
            own row only.
        arrays: arrays [n, ...] or sources; n is at least 1.
        devices: this process's devices to run on.
        batch_size: rows per batch in this process; None for BATCH.

    Returns:
        A function from the unreplicated state to values [n, ...], the same in every process.
    """
    rows, processes = len(arrays[0]), jax.process_count()
    share = -(-rows // processes)
    size = -(-min(batch_size or BATCH, share) // len(devices)) * len(devices)
    count = -(-share // size)
    # The last row is repeated to fill up the last batch and the shares of processes without rows.
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
