"""Implements k-means (Lloyd 1982) from a k-means++ start (Arthur and Vassilvitskii 2007)."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul

STEPS = 20


def distances(rows: jax.Array, centres: jax.Array) -> jax.Array:
    """Squared distances [n, k] of rows [n, d] from centres [k, d]; rounding makes none negative."""
    products = matmul(rows, centres.T)
    squared = jnp.sum(rows**2, axis=1)[:, None] - 2 * products + jnp.sum(centres**2, axis=1)
    return jnp.maximum(squared, 0)


def nearest(rows: jax.Array, centres: jax.Array) -> jax.Array:
    """Index [n] of the centre that is nearest to each row."""
    return jnp.argmin(distances(rows, centres), axis=1)


def start(rows: jax.Array, count: int, key: jax.Array) -> jax.Array:
    """`count` of the rows [n, d] as centres, each drawn by its squared distance from those before it."""
    keys = jax.random.split(key, count)
    first = rows[jax.random.randint(keys[0], (), 0, rows.shape[0])]

    def draw(least, own):
        # All distances are 0 where there are fewer different rows than centres: any row will do then.
        row = rows[jax.random.categorical(own, jnp.log(least + jnp.finfo(least.dtype).tiny))]
        return jnp.minimum(least, distances(rows, row[None])[:, 0]), row

    others = jax.lax.scan(draw, distances(rows, first[None])[:, 0], keys[1:])[1]
    return jnp.concatenate([first[None], others])


def fit(rows: jax.Array, count: int, key: jax.Array) -> jax.Array:
    """Centres [count, d] of rows [n, d] after `STEPS` steps; one that no row is nearest to stays where it is.

    Args:
        rows: [n, d].
        count: number of centres, at most n.
        key: for the start.
    """

    def step(centres, _):
        own = jax.nn.one_hot(nearest(rows, centres), count, dtype=rows.dtype)
        sizes = jnp.sum(own, axis=0)[:, None]
        means = matmul(own.T, rows) / jnp.maximum(sizes, 1)
        return jnp.where(sizes > 0, means, centres), None

    return jax.lax.scan(step, start(rows, count, key), length=STEPS)[0]
