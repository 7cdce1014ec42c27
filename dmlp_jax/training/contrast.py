"""Computes contrastive losses with any positives, and keeps queues of the keys of earlier batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


def supervised(
    anchors: jax.Array,
    keys: jax.Array,
    positives: jax.Array,
    candidates: jax.Array,
    temperature: float,
) -> jax.Array:
    """Supervised contrastive loss with weighted positives (Khosla et al. 2020, Eq. 2), [b], in nats.

    -sum_j w_ij log q_ij / sum_j w_ij with q_ij = exp(s_ij / T) / sum over candidates k of exp(s_ik / T), and
    s the inner product. One positive makes it InfoNCE. A row without positives has loss 0.

    Args:
        anchors: unit rows [b, d].
        keys: unit rows [m, d].
        positives: weights w [b, m], not negative; those of keys that are no candidates count as 0.
        candidates: which keys an anchor is compared with, bool [b, m]; usually all but the anchor itself.
        temperature: T, positive.
    """
    logits = similarity(anchors, keys) / temperature
    # A finite number: the gradient of logsumexp over infinities only would be NaN.
    reach = jax.nn.logsumexp(jnp.where(candidates, logits, -1e9), axis=1)
    weights = jnp.where(candidates, positives, 0.0)
    totals = jnp.sum(weights, axis=1)
    found = jnp.sum(weights * (reach[:, None] - logits), axis=1)
    return found / jnp.where(totals > 0, totals, 1.0)


def info_nce(queries: jax.Array, keys: jax.Array, queue: jax.Array, temperature: float) -> jax.Array:
    """InfoNCE (van den Oord et al. 2018) as in MoCo, [b], in nats; the negatives of a query are a queue.

    logsumexp([q.k, q.queue] / T) - q.k / T for a query q and its key k.

    Args:
        queries: projections [b, d]; normalised here.
        keys: keys of the same images, unit rows [b, d]; no gradient flows through them.
        queue: keys of other images, unit rows [k, d].
        temperature: T, positive.
    """
    queries, keys = unit_rows(queries), jax.lax.stop_gradient(keys)
    positive = jnp.sum(queries * keys, axis=-1, keepdims=True)
    logits = jnp.concatenate([positive, similarity(queries, queue)], axis=1) / temperature
    return jax.nn.logsumexp(logits, axis=1) - logits[:, 0]


def unit_rows(rows: jax.Array) -> jax.Array:
    """Scales rows to unit length, float32; the gradient at a zero row is finite."""
    rows = rows.astype(jnp.float32)
    return rows * jax.lax.rsqrt(jnp.sum(rows**2, axis=-1, keepdims=True) + 1e-12)


def similarity(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner products [n, m] of rows [n, d] and [m, d].

    In full precision: dividing by the temperature amplifies the rounding errors of TF32 and bfloat16.
    """
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


class Queue(NamedTuple):
    """The most recent keys and what is known of them.

    Attributes:
        keys: unit rows [k, d].
        info: a pytree of arrays [k, ...], such as labels.
        place: row that the next keys overwrite first, int32 scalar.
    """

    keys: jax.Array
    info: Any
    place: jax.Array


def push(queue: Queue, keys: jax.Array, info: Any = ()) -> Queue:
    """The queue with its oldest rows overwritten by `keys` [b, d] and `info`, going round at its end.

    Args:
        queue: see `Queue`.
        keys: the keys of a batch, of all devices; b is at most k.
        info: of these keys, [b, ...], a pytree as in the queue.
    """
    size = len(queue.keys)
    rows = (queue.place + jnp.arange(len(keys))) % size
    stored = queue.keys.at[rows].set(keys)
    known = jax.tree.map(lambda old, new: old.at[rows].set(new), queue.info, info)
    return Queue(stored, known, (queue.place + len(keys)) % size)


def gathered(rows: jax.Array, axis_name: str | None) -> jax.Array:
    """Gathers the rows [b, ...] of all devices, in the order of the batch."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def own_places(size: int, axis_name: str | None) -> jax.Array:
    """Where this device's `size` rows lie among those of all devices, [size] int32."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * size
    return first + jnp.arange(size)
