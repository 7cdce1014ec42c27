"""Mixes rows with each other (mixup, Zhang et al. 2018) and updates tables of all rows, across devices.

Partners are drawn from the whole batch over all devices, so that results do not depend on the number of
devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mix(NamedTuple):
    """How a batch is mixed.

    Attributes:
        share: weight of a row in its own mixture, in [.5, 1]; scalar, or one per row [groups, b].
        partners: index of the row, over all groups and devices, that each row is mixed with, [groups, b].
    """

    share: jax.Array
    partners: jax.Array


def draw(
    key: jax.Array,
    groups: int,
    size: int,
    concentration: float,
    axis_name: str | None,
    *,
    per_row: bool = False,
) -> Mix:
    """Draws l ~ Beta(a, a), as max(l, 1 - l), and a permutation of groups * (size on all devices) rows.

    Args:
        key: typed PRNG key, the same on all devices.
        groups: number of groups of rows; partners come from all of them.
        size: rows of a group on this device.
        concentration: a.
        axis_name: pmap axis.
        per_row: whether to draw one share for each row.
    """
    share_key, order_key = jax.random.split(key)
    devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    everywhere = (groups, devices * size)
    shape = everywhere if per_row else ()
    share = jax.random.beta(share_key, concentration, concentration, shape)
    order = jax.random.permutation(order_key, groups * devices * size).reshape(everywhere)
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * size
    partners = jax.lax.dynamic_slice_in_dim(order, first, size, axis=1)
    if per_row:
        share = jax.lax.dynamic_slice_in_dim(share, first, size, axis=1)
    return Mix(jnp.maximum(share, 1.0 - share), partners)


def draw_partners(key: jax.Array, chosen: jax.Array, axis_name: str | None) -> jax.Array:
    """Permutes the chosen rows of a batch among themselves; indices over all devices [1, b].

    A row that is not chosen gets a chosen one too, if there is any.

    Args:
        key: typed PRNG key, the same on all devices.
        chosen: which rows are chosen [b], bool.
        axis_name: pmap axis.
    """
    size, everything = len(chosen), chosen
    first: jax.Array | int = 0
    if axis_name is not None:
        everything = jax.lax.all_gather(chosen, axis_name, tiled=True)
        first = jax.lax.axis_index(axis_name) * size
    # The chosen rows come first, in random order; the k-th chosen row gets the k-th of them.
    order = jnp.argsort(jnp.where(everything, jax.random.uniform(key, everything.shape), 2.0))
    partners = order[jnp.maximum(jnp.cumsum(everything) - 1, 0)]
    return jax.lax.dynamic_slice_in_dim(partners, first, size)[None]


def apply(mix: Mix, rows: jax.Array, axis_name: str | None) -> jax.Array:
    """Share * row + (1 - share) * partner, of rows [groups, b, ...]."""
    share = mix.share
    if jnp.ndim(share):
        share = share.reshape(share.shape + (1,) * (rows.ndim - 2))
    return share * rows + (1.0 - share) * partners_of(mix, rows, axis_name)


def apply_mask(mix: Mix, mask: jax.Array, images: jax.Array, axis_name: str | None) -> jax.Array:
    """Mask * image + (1 - mask) * partner, of images [groups, b, h, w, channels] and one mask [h, w]."""
    mask = mask[:, :, None]
    return mask * images + (1.0 - mask) * partners_of(mix, images, axis_name)


def partners_of(mix: Mix, rows: jax.Array, axis_name: str | None) -> jax.Array:
    """The rows that each of rows [groups, b, ...] is mixed with, from all devices."""
    everything = rows if axis_name is None else jax.lax.all_gather(rows, axis_name, axis=1, tiled=True)
    return everything.reshape(-1, *rows.shape[2:])[mix.partners]


def put_rows(table: jax.Array, index: jax.Array, rows: jax.Array, axis_name: str | None) -> jax.Array:
    """The table [n, ...], equal on all devices, with the rows [b, ...] of all devices put at `index` [b]."""
    if axis_name is not None:
        index, rows = jax.lax.all_gather((index, rows), axis_name, tiled=True)
    return table.at[index].set(rows)
