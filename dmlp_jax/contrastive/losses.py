"""Computes the contrastive loss NT-Xent (SimCLR); InfoNCE (MoCo) is in `training.contrast`."""

import jax
import jax.numpy as jnp

from dmlp_jax.training.contrast import gathered, own_places, similarity, unit_rows


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
    all_first, all_second = gathered(first, axis_name), gathered(second, axis_name)
    own = own_places(rows, axis_name)
    itself = own[:, None] == jnp.arange(all_first.shape[0])[None, :]

    def one_way(anchors, same_view, other_view):
        across = similarity(anchors, other_view) / temperature
        within = jnp.where(itself, -jnp.inf, similarity(anchors, same_view) / temperature)
        positive = jnp.take_along_axis(across, own[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(jnp.concatenate([across, within], axis=1), axis=1) - positive

    losses = one_way(first, all_first, all_second) + one_way(second, all_second, all_first)
    return 0.5 * jnp.mean(losses)
