"""Defines the nine-layer convolutional network of Co-teaching (Han et al. 2018, table 2)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.models.cpu_convolution import convolve
from dmlp_jax.models.dropout import ChannelDropout
from dmlp_jax.models.norm import batch_norm


class CNN9(nn.Module):
    """Three blocks of three 3x3 convolutions with batch norm and leaky ReLU of slope .01.

    As in the authors' code, the last block has no padding (8x8 becomes 2x2), and dropout acts on whole
    channels.

    Attributes:
        dropout: dropout rate after each of the first two blocks.
        dtype: data type of the computation.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.
    """

    dropout: float = 0.25
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Features [b, 128], float32, of images [b, h, w, channels] of at least 28 pixels a side."""
        conv = partial(nn.Conv, kernel_size=(3, 3), dtype=self.dtype, conv_general_dilated=convolve)
        norm = batch_norm(train, self.dtype, self.axis_name)
        x = images.astype(self.dtype)
        for widths, padding in (((128,) * 3, 1), ((256,) * 3, 1), ((512, 256, 128), 0)):
            for width in widths:
                x = nn.leaky_relu(norm()(conv(width, padding=padding)(x)), 0.01)
            if padding:
                x = nn.max_pool(x, (2, 2), (2, 2))
                x = ChannelDropout(self.dropout, self.axis_name)(x, train)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))
