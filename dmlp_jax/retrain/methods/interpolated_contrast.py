"""Computes MOIT's interpolated contrastive loss of mixed rows, in the batch and in a memory of keys."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.training.contrast import Queue, own_places, push, supervised


class Pairs(NamedTuple):
    """What the two views of every row are mixed of, [2, b] each.

    Attributes:
        major: classes of the rows.
        minor: classes of their partners.
        share: weights of the rows.
        partner: numbers of the partners among the rows of all devices.
    """

    major: jax.Array
    minor: jax.Array
    share: jax.Array
    partner: jax.Array


def interpolated_contrast(
    rows: jax.Array, pairs: Pairs, memory: Queue, temperature: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, Queue]:
    """Interpolated contrastive loss (ICL, Ortego et al. 2021) of two views of every row.

    With share l the positives of a row are those of its major class, which weigh l together, and those of
    its minor class, which weigh 1 - l. Keys count by their major class. A row is no key of its own, but its
    other view is one. As in the authors' code the views of the partner weigh twice as much as others of the
    minor class.

    Args:
        rows: unit projections of both views [2, b, d].
        pairs: what the rows are made of.
        memory: the memory before the batch, `info` being classes, -1 for rows that were never written.
        temperature: T.
        axis_name: pmap axis; rows of all devices are keys and enter the memory.

    Returns:
        The losses among the keys of the batch [2 b], the losses among the keys of the memory with the batch
        in it [2 b], through which no gradient flows into keys, and this memory.
    """
    anchors, (major, minor, share, partner) = rows.reshape(-1, rows.shape[-1]), (p.ravel() for p in pairs)
    keys, labels = everywhere(rows, axis_name), everywhere(pairs.major, axis_name)
    every, own = len(keys) // 2, own_places(rows.shape[1], axis_name)
    places = jnp.concatenate([own, own + every])

    def loss(keys, labels, places, numbers):
        others = jnp.arange(len(keys)) != places[:, None]
        twice = (labels == minor[:, None]) + 1.0 * (numbers == partner[:, None])
        positives = mixed_positives(others * (labels == major[:, None]), others * twice, share)
        return supervised(anchors, keys, positives, others & (labels >= 0), temperature)

    after = push(memory, jax.lax.stop_gradient(keys), labels)
    in_memory = loss(
        after.keys,
        after.info,
        (memory.place + places) % len(after.keys),
        numbers_in_memory(memory, len(keys)),
    )
    return loss(keys, labels, places, jnp.arange(len(keys)) % every), in_memory, after


def mixed_positives(major: jax.Array, minor: jax.Array, share: jax.Array) -> jax.Array:
    """Weights [b, m] of positives: those of `major` weigh `share` [b] together, those of `minor` the rest."""
    return share[:, None] * _shares(major) + (1.0 - share)[:, None] * _shares(minor)


def numbers_in_memory(before: Queue, views: int) -> jax.Array:
    """Numbers [k], in the batch that was pushed last, of the rows of the memory's keys; -1 for older keys.

    Args:
        before: the memory before the batch.
        views: keys of the batch, the first views of all its rows and then the second ones.
    """
    size = len(before.keys)
    age = (jnp.arange(size) - before.place) % size
    return jnp.where(age < views, age % (views // 2), -1)


def everywhere(values: jax.Array, axis_name: str | None) -> jax.Array:
    """The values [2, b, ...] of all devices, the first views of all rows first, [2 b, ...]."""
    if axis_name is not None:
        values = jax.lax.all_gather(values, axis_name, axis=1, tiled=True)
    return values.reshape(-1, *values.shape[2:])


def _shares(weights: jax.Array) -> jax.Array:
    """Weights [b, m] that sum to 1 in every row; zeros where all are 0."""
    return weights / jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1.0)
