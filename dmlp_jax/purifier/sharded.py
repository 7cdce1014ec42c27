"""Purifies rows that are spread over the devices of a mesh, on one host or several.

The program runs on every device with that device's rows (`jax.shard_map`). Devices exchange only sums over
rows, one `psum` each; the features never move.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlp_jax.purifier import program
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.result import PurifyResult, over_rows


class Placement(NamedTuple):
    """How the rows of an array are spread over devices.

    Attributes:
        mesh: mesh of the devices.
        axis: names of the mesh axes over which rows are spread.
    """

    mesh: Mesh
    axis: tuple[str, ...]


def placement(features: Any) -> Placement | None:
    """Placement of an array [n, d] whose rows are spread over devices, each row whole on one; else None."""
    if not isinstance(features, jax.Array) or isinstance(features, jax.core.Tracer):
        return None
    sharding = features.sharding
    if not isinstance(sharding, NamedSharding) or sharding.is_fully_replicated:
        return None
    rows, *columns = (*sharding.spec, None)
    if rows is None or any(columns):
        return None
    return Placement(cast(Mesh, sharding.mesh), (rows,) if isinstance(rows, str) else tuple(rows))


def off_a_mesh_of_one(features: Any) -> Any:
    """Takes an array off a mesh of one device: the program for one device has no mesh axes."""
    if not isinstance(features, jax.Array) or isinstance(features, jax.core.Tracer):
        return features
    one = isinstance(features.sharding, NamedSharding) and features.sharding.mesh.size == 1
    return features.addressable_data(0) if one else features


def run(where: Placement, features: jax.Array, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Runs `program.run` over the devices of a mesh.

    Args:
        where: placement of the features.
        features: [n, d].
        inputs: the other arguments, whole on every host or spread like the features.
        num_classes: c.

    Returns:
        The result; arrays with an entry per row are spread like the features, the rest is on every device.
    """
    return _run(features, place(where, inputs), num_classes, where, str(jax.random.key_impl(inputs.key)))


def place(where: Placement, inputs: Inputs) -> Inputs:
    """Spreads labels and weights like the features and copies the rest to all devices; the key as data."""

    def put(spec, value):
        return jax.tree.map(partial(_place, NamedSharding(where.mesh, spec)), value)

    return jax.tree.map(put, _specs(where), inputs._replace(key=jax.random.key_data(inputs.key)))


def _specs(where: Placement) -> Inputs:
    rows, whole = _row_and_whole(where)
    return Inputs(rows, rows, whole, whole, whole, whole, whole, whole, rows, whole)


def _row_and_whole(where: Placement) -> tuple[Any, Any]:
    """Specs for spread rows and for whole arrays; Any, since they take the place of arrays in pytrees."""
    return PartitionSpec(where.axis), PartitionSpec()


@partial(jax.jit, static_argnums=(2, 3, 4))
def _run(
    features: jax.Array, inputs: Inputs, num_classes: int, where: Placement, key_type: str
) -> PurifyResult:
    rows, whole = _row_and_whole(where)
    steps_and_rows = PartitionSpec(None, where.axis) if inputs.config.keep_label_history else None
    out_specs = over_rows(rows, whole, steps_and_rows)

    def on_device(features, inputs):
        key = jax.random.wrap_key_data(inputs.key, impl=key_type)
        return program.run(features, inputs._replace(key=key), num_classes, where.axis)

    # Everything except the rows is equal on all devices by construction, which the checker cannot see.
    return jax.shard_map(
        on_device, mesh=where.mesh, in_specs=(rows, _specs(where)), out_specs=out_specs, check_vma=False
    )(features, inputs)


def _place(sharding: NamedSharding, array: Any) -> jax.Array:
    """Places an array by `sharding`; it is placed so already, or whole on every host."""
    if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
