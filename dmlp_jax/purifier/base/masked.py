"""Means over the rows that are real, among rows [m] of which some only fill up the array.

`real` is 1 for a row and 0 for padding. Targets [m, c] tell it too: those of padding are all 0.
"""

import jax
import jax.numpy as jnp


def of_targets(targets: jax.Array) -> jax.Array:
    """`real` [m] of targets [m, c], one-hot or distributions."""
    return (jnp.sum(targets, axis=1) > 0).astype(targets.dtype)


def mean(values: jax.Array, real: jax.Array) -> jax.Array:
    """Mean of values [..., m], [...]."""
    return jnp.sum(real * values, axis=-1) / jnp.sum(real)


def deviation(values: jax.Array, real: jax.Array) -> jax.Array:
    """Standard deviation of values [m] around their mean, a scalar; over their number, as `numpy.std`."""
    return jnp.sqrt(mean((values - mean(values, real)) ** 2, real))


def quantiles(values: jax.Array, real: jax.Array, shares: tuple[float, ...]) -> list[jax.Array]:
    """Quantiles of values [m] at shares in [0, 1], scalars; linear in between, as `numpy.quantile`."""
    ordered = jnp.sort(jnp.where(real > 0, values, jnp.inf))
    last = jnp.sum(real) - 1.0

    def at(share):
        place = share * last
        below = jnp.floor(place)
        low, high = (ordered[index.astype(jnp.int32)] for index in (below, jnp.ceil(place)))
        return low + (place - below) * (high - low)

    return [at(share) for share in shares]
