"""Runs a training step on the devices: jit on one device, pmap over several.

A loop calls `replicate` before it starts and `unreplicate` after it. Everywhere else the state is
unreplicated, so checkpoints and results do not depend on the number of devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlp_jax.errors import UserError

AXIS = "batch"


def local_devices(count: int) -> list[jax.Device]:
    """The first `count` local devices; 0 for all of them.

    Raises:
        UserError: there are fewer.
    """
    devices = jax.local_devices()
    if not 0 <= count <= len(devices):
        raise UserError(
            f"num_devices is {count}, but this machine has {len(devices)} ({devices[0].platform})"
        )
    return devices[: count or None]


def total(devices: list[jax.Device]) -> int:
    """Number of devices that share a batch, over all processes."""
    return len(devices) * jax.process_count()


def axis_name(devices: list[jax.Device]) -> str | None:
    """Name of the pmap axis that steps reduce over; None on a single device."""
    return AXIS if total(devices) > 1 else None


def map_step(step: Callable[..., Any], devices: list[jax.Device]) -> Callable[..., Any]:
    """Compiles `step(state, data, rows, shared)` for the devices; state buffers are donated.

    `state` and `data` are replicated, `rows` has a leading device axis (see `shard`), and `shared` is the
    same on all devices. On a single device there is no device axis. With several processes, each passes and
    receives the values of its own devices.
    """
    if total(devices) == 1:
        return jax.jit(step, donate_argnums=0)
    everywhere = devices if jax.process_count() == 1 else jax.devices()
    return jax.pmap(step, axis_name=AXIS, devices=everywhere, in_axes=(0, 0, 0, None), donate_argnums=0)


def replicate(tree: Any, devices: list[jax.Device]) -> Any:
    """Copies a pytree to every device, with a leading device axis if there are several."""
    if total(devices) == 1:
        # A copy, so that donating its buffers does not invalidate the caller's arrays.
        return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), devices[0]), tree)
    everywhere = devices if jax.process_count() == 1 else jax.devices()
    sharding = NamedSharding(Mesh(np.array(everywhere), (AXIS,)), PartitionSpec(AXIS))

    def copy(leaf):
        leaf = np.asarray(leaf)
        return jax.make_array_from_process_local_data(
            sharding, np.broadcast_to(leaf, (len(devices), *leaf.shape))
        )

    return jax.tree.map(copy, tree)


def unreplicate(tree: Any, devices: list[jax.Device]) -> Any:
    """Copies a replicated pytree from the first device to the host, as NumPy arrays."""
    if total(devices) == 1:
        return jax.tree.map(np.asarray, tree)
    # Reading one shard is cheap; indexing leaf[0] would run a gather over all devices.
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree)


def own_share(tree: Any) -> Any:
    """This process's equal share of the batch axis of arrays [steps, batch]."""
    count = jax.process_count()
    if count == 1:
        return tree

    def part(array):
        size = array.shape[1] // count
        return array[:, jax.process_index() * size : (jax.process_index() + 1) * size]

    return jax.tree.map(part, tree)


def shard(tree: Any, devices: list[jax.Device]) -> Any:
    """Splits this process's arrays [steps, batch, ...] to [devices, steps, batch / devices, ...]."""
    if total(devices) == 1:
        return tree

    def deal(array):
        steps, batch = array.shape[:2]
        return np.swapaxes(array.reshape(steps, len(devices), batch // len(devices), *array.shape[2:]), 0, 1)

    return jax.tree.map(deal, tree)
