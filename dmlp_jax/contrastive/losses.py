"""Computes the contrastive losses NT-Xent (SimCLR) and InfoNCE (MoCo)."""

import jax
import jax.numpy as jnp


def nt_xent(
    first: jax.Array, second: jax.Array, temperature: float, *, axis_name: str | None = None
) -> jax.Array:
    """Normalised temperature-scaled cross-entropy of two views (NT-Xent; Chen et al. 2020, Eq. 1).

    Row i of `first` and row i of `second` are a positive pair; all other rows of both views, on all devices,
    are negatives. The similarity is the cosine. The loss is the mean over the 2b anchors of this device, half
    of google-research/simclr's sum of two means. Its mean over devices is the loss of the whole batch.

    Args:
        first: projections [b, d] of the first views.
        second: projections [b, d] of the second views.
        temperature: positive; divides the similarities.
        axis_name: pmap axis over which negatives are gathered; None uses this device's rows only.

    Returns:
        The loss, a float32 scalar, in nats.

    Raises:
        ValueError: the views have different shapes.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            f"views must be two arrays [b, d] of one shape, got {first.shape} and {second.shape}"
        )
    rows = first.shape[0]
    first, second = unit_rows(first), unit_rows(second)
    all_first, all_second = first, second
    offset: jax.Array | int = 0
    if axis_name is not None:
        all_first = jax.lax.all_gather(first, axis_name, tiled=True)
        all_second = jax.lax.all_gather(second, axis_name, tiled=True)
        offset = jax.lax.axis_index(axis_name) * rows
    own = offset + jnp.arange(rows)
    itself = own[:, None] == jnp.arange(all_first.shape[0])[None, :]

    def one_way(anchors, same_view, other_view):
        across = _similarity(anchors, other_view) / temperature
        within = jnp.where(itself, -jnp.inf, _similarity(anchors, same_view) / temperature)
        positive = jnp.take_along_axis(across, own[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(jnp.concatenate([across, within], axis=1), axis=1) - positive

    losses = one_way(first, all_first, all_second) + one_way(second, all_second, all_first)
    return 0.5 * jnp.mean(losses)


def info_nce(queries: jax.Array, keys: jax.Array, queue: jax.Array, temperature: float) -> jax.Array:
    """InfoNCE (van den Oord et al. 2018) as in MoCo: the positive is a query's key, the negatives a queue.

    Args:
        queries: projections [b, d]; normalised here.
        keys: keys of the same images, unit rows [b, d]; no gradient flows through them.
        queue: keys of other images, unit rows [k, d].
        temperature: positive; divides the similarities.

    Returns:
        The mean of logsumexp([q.k, q.queue] / temperature) - q.k / temperature, a float32 scalar, in nats.
    """
    queries, keys = unit_rows(queries), jax.lax.stop_gradient(keys)
    positive = jnp.sum(queries * keys, axis=-1, keepdims=True)
    logits = jnp.concatenate([positive, _similarity(queries, queue)], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[:, 0])


def unit_rows(rows: jax.Array) -> jax.Array:
    """Scales rows to unit length, float32; the gradient at a zero row is finite."""
    rows = rows.astype(jnp.float32)
    return rows * jax.lax.rsqrt(jnp.sum(rows**2, axis=-1, keepdims=True) + 1e-12)


def _similarity(a: jax.Array, b: jax.Array) -> jax.Array:
    # Full precision: dividing by the temperature amplifies the rounding errors of TF32 and bfloat16.
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
