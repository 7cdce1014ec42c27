"""Drops whole channels at random, independently of how a batch is split over devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ChannelDropout(nn.Module):
    """Sets channels of images to 0 (Tompson et al. 2015, PyTorch's Dropout2d); needs the rng 'dropout'.

    Attributes:
        rate: probability that a channel is dropped.
        axis_name: pmap axis. All its devices get the same rng but draw different masks, by row of the batch.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Drops channels of x [b, h, w, channels] and scales the others by 1 / (1 - rate)."""
        if not train or not self.rate:
            return x
        key, size = self.make_rng("dropout"), x.shape[0]
        first = 0 if self.axis_name is None else jax.lax.axis_index(self.axis_name) * size
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first + jnp.arange(size))
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1.0 - self.rate, x.shape[-1:]))(keys)
        return x * (kept[:, None, None, :] / (1.0 - self.rate)).astype(x.dtype)
