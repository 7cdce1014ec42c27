"""Defines Wide ResNet-28 (Zagoruyko and Komodakis 2016) as in the code of MixMatch and FixMatch."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.models.norm import batch_norm
from dmlp_jax.models.resnet import conv

leaky_relu = partial(nn.leaky_relu, negative_slope=0.1)


class WideResNet(nn.Module):
    """Three stages of pre-activation basic blocks, with leaky ReLU of slope .1 (MixMatch, FixMatch).

    In the first block the activation precedes both the convolutions and the shortcut; in the others it
    precedes the convolutions only. The authors' convolutions also have biases, which batch norm cancels.

    Attributes:
        blocks: number of blocks in each stage; the depth is 6 * blocks + 4.
        width: channels of the first stage, 16 times the widening factor.
        dtype: data type of the computation; parameters and batch statistics stay float32.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.
    """

    blocks: int = 4
    width: int = 32
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Features [b, 4 * width], float32, of images [b, h, w, channels]."""
        norm = batch_norm(train, self.dtype, self.axis_name)
        x = conv(16, (3, 3), padding=1, dtype=self.dtype, name="stem")(images.astype(self.dtype))
        for stage in range(3):
            for index in range(self.blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                first = stage == 0 and index == 0
                x = _Block(self.width * 2**stage, stride, first, norm, self.dtype)(x)
        x = leaky_relu(norm(name="last_norm")(x))
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


class _Block(nn.Module):
    width: int
    stride: int
    activate_both: bool
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        step = (self.stride, self.stride)
        y = leaky_relu(self.norm()(x))
        if self.activate_both:
            x = y
        y = conv(self.width, (3, 3), step, padding=1, dtype=self.dtype)(y)
        y = leaky_relu(self.norm()(y))
        y = conv(self.width, (3, 3), padding=1, dtype=self.dtype)(y)
        if x.shape[-1] != self.width:
            x = conv(self.width, (1, 1), step, dtype=self.dtype, name="shortcut")(x)
        return x + y
