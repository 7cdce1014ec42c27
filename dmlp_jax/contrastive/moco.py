"""Implements MoCo-v2 (He et al. 2020; Chen et al. 2020): a momentum encoder and a queue of negatives.

Batch norm normalises `norm_groups` equal groups of the whole batch separately, on any number of devices. Keys
are grouped in shuffled order (shuffled batch norm), so that a query cannot be matched to its key by shared
batch statistics. The published code has one group per device; the well-known CIFAR version has eight on one
device. As there, the key encoder is updated before it computes keys, and keys enter the queue after the
logits are computed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.contrastive.method import Pretraining, init_variables, make_model, make_views
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError
from dmlp_jax.training import learning_rates
from dmlp_jax.training.contrast import Queue, gathered, info_nce, push, unit_rows
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer


class MoCoState(NamedTuple):
    """State of the query encoder, the key encoder and the queue.

    Attributes:
        network: query encoder with projection head; the result of pretraining.
        key_params: parameters of the key encoder, a moving average of the query encoder's.
        key_stats: batch-norm running statistics of the key encoder; not used in training.
        queue: the most recent keys.
    """

    network: TrainState
    key_params: Any
    key_stats: Any
    queue: Queue


def make(settings: ConfigDict) -> Pretraining:
    """Builds MoCo-v2 with `queue`, `key_momentum` and `norm_groups` of the `pretrain` settings.

    Raises:
        UserError: the queue is not a multiple of the batch, or the batch not a multiple of the groups.
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
        return MoCoState(network, network.params, network.batch_stats, Queue(queue, (), jnp.int32(0)))

    def step(state: MoCoState, batch: Batch, *, axis_name: str | None) -> tuple[MoCoState, dict]:
        queries, keys = make_pair(batch)
        devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
        if groups % devices:
            raise UserError(
                f"pretrain.norm_groups {groups} cannot be shared by {devices} devices; choose a multiple, or "
                "set num_devices"
            )
        own_groups = groups // devices
        key_params = jax.tree.map(
            lambda old, new: settings.key_momentum * old + (1.0 - settings.key_momentum) * new,
            state.key_params,
            state.network.params,
        )
        order = jax.random.permutation(batch.key, size)
        own_rows = lambda rows: _own(rows, size // devices, axis_name)  # noqa: E731
        shuffled = own_rows(gathered(keys, axis_name)[order])
        key_rows, key_stats = grouped(settings, key_params, state.key_stats, shuffled, own_groups, axis_name)
        all_keys = unit_rows(gathered(key_rows, axis_name))[jnp.argsort(order)]

        def loss_fn(params):
            rows, stats = grouped(settings, params, state.network.batch_stats, queries, own_groups, axis_name)
            costs = info_nce(rows, own_rows(all_keys), state.queue.keys, settings.temperature)
            return jnp.mean(costs), stats

        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.network.params)
        network = apply_gradients(state.network, grads, stats, optimizer, axis_name, epoch=batch.epoch)
        return MoCoState(network, key_params, key_stats, push(state.queue, all_keys)), {"loss": loss}

    return Pretraining(init, step, lambda state: state.network)


def grouped(
    settings: ConfigDict, params: Any, stats: Any, images: jax.Array, groups: int, axis_name: str | None
) -> tuple[jax.Array, Any]:
    """Projections [b, d], with batch norm applied separately to each of `groups` equal groups of rows.

    Args:
        settings: the `pretrain` settings.
        params: parameters of the model.
        stats: batch-norm running statistics before this batch.
        images: [b, h, w, channels], float32.
        groups: number of groups on this device.
        axis_name: pmap axis; running statistics are averaged over the groups of all devices.

    Returns:
        The projections and the updated running statistics.
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


def _own(rows: jax.Array, count: int, axis_name: str | None) -> jax.Array:
    """Selects this device's `count` rows of a whole batch."""
    if axis_name is None:
        return rows
    return jax.lax.dynamic_slice_in_dim(rows, jax.lax.axis_index(axis_name) * count, count)
