"""MoCo-v2 (He et al. 2020; Chen et al. 2020): keys from a slow copy of the encoder, negatives from a queue.

Batch norm works on groups of rows of a fixed number, `norm_groups` of the whole batch, however many devices
there are; keys are normalised in groups of other rows than queries (shuffled batch norm), so that a query
cannot recognise its key by the statistics that they share. The published code has one group a device, the
well-known CIFAR version eight on one device. As there the key encoder moves before it computes keys, and keys
enter the queue after the logits are computed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.contrastive.losses import info_nce, unit_rows
from dmlp_jax.contrastive.method import Pretraining, init_variables, make_model, make_views
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer


class MoCoState(NamedTuple):
    """State of the pair of encoders and the queue.

    Attributes:
        network: of the query encoder, with its projection head; the outcome.
        key_params: of the key encoder, an average of the query encoder's.
        key_stats: its running statistics, which nothing reads in training.
        queue: the last keys, unit rows [k, d].
        place: where the next keys go, int32 scalar.
    """

    network: TrainState
    key_params: Any
    key_stats: Any
    queue: jax.Array
    place: jax.Array


def make(settings: ConfigDict) -> Pretraining:
    """MoCo-v2 with `queue`, `key_momentum` and `norm_groups` of the `pretrain` settings.

    Raises:
        UserError: the queue or the batch cannot be divided as it must.
    """
    size, groups = settings.batch_size, settings.norm_groups
    if settings.queue % size:
        raise UserError(
            f"pretrain.queue is {settings.queue}; it must be a multiple of pretrain.batch_size, {size}"
        )
    if size % groups or size == groups:
        raise UserError(
            f"pretrain.batch_size {size} cannot be divided into pretrain.norm_groups {groups} groups of two "
            "or more"
        )
    optimizer = make_optimizer(settings, learning_rates.cosine(settings))
    make_pair = make_views(settings)

    def init(key: jax.Array, images: Images) -> MoCoState:
        network_key, queue_key = jax.random.split(key)
        network = init_state(init_variables(settings, network_key, images), optimizer)
        queue = unit_rows(jax.random.normal(queue_key, (settings.queue, settings.projection_dim)))
        return MoCoState(network, network.params, network.batch_stats, queue, jnp.int32(0))

    def step(state: MoCoState, batch: Batch, *, axis_name: str | None) -> tuple[MoCoState, dict]:
        queries, keys = make_pair(batch)
        devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
        if groups % devices:
            raise UserError(
                f"pretrain.norm_groups {groups} cannot be shared by {devices} devices; choose a multiple, or "
                "set num_devices"
            )
        own_groups = groups // devices
        moved = jax.tree.map(
            lambda old, new: settings.key_momentum * old + (1.0 - settings.key_momentum) * new,
            state.key_params,
            state.network.params,
        )
        order = jax.random.permutation(batch.key, size)
        mine = lambda rows: _own(rows, size // devices, axis_name)  # noqa: E731
        shuffled = mine(_gathered(keys, axis_name)[order])
        key_rows, key_stats = grouped(settings, moved, state.key_stats, shuffled, own_groups, axis_name)
        everything = unit_rows(_gathered(key_rows, axis_name))[jnp.argsort(order)]

        def loss_fn(params):
            rows, stats = grouped(settings, params, state.network.batch_stats, queries, own_groups, axis_name)
            return info_nce(rows, mine(everything), state.queue, settings.temperature), stats

        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.network.params)
        network = apply_gradients(state.network, grads, stats, optimizer, axis_name, epoch=batch.epoch)
        queue = jax.lax.dynamic_update_slice_in_dim(state.queue, everything, state.place, axis=0)
        place = (state.place + size) % settings.queue
        return MoCoState(network, moved, key_stats, queue, place), {"loss": loss}

    return Pretraining(init, step, lambda state: state.network)


def grouped(
    settings: ConfigDict, params: Any, stats: Any, images: jax.Array, groups: int, axis_name: str | None
) -> tuple[jax.Array, Any]:
    """Projections [b, d] with batch norm in each of `groups` equal groups of rows, and running statistics.

    Args:
        settings: the `pretrain` settings.
        params: of the model.
        stats: running statistics before.
        images: [b, h, w, channels], float32.
        groups: on this device.
        axis_name: pmap axis; running statistics are the mean over the groups of all devices.
    """
    model = make_model(settings)

    def one(rows):
        variables = {"params": params, "batch_stats": stats}
        projections, updates = model.apply(variables, rows, True, mutable=["batch_stats"])
        return projections, updates.get("batch_stats", {})

    split = images.reshape(groups, -1, *images.shape[1:])
    projections, updated = jax.vmap(one)(split)
    updated = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), updated)
    if axis_name is not None:
        updated = jax.lax.pmean(updated, axis_name)
    return projections.reshape(len(images), -1), updated


def _gathered(rows: jax.Array, axis_name: str | None) -> jax.Array:
    """The rows of all devices, in the order of the batch."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def _own(rows: jax.Array, count: int, axis_name: str | None) -> jax.Array:
    """This device's `count` rows of a whole batch."""
    if axis_name is None:
        return rows
    return jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(axis_name) * count, count)
