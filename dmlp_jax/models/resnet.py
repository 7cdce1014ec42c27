"""Defines ResNet-18/34/50 and PreAct ResNet-18 (He et al. 2016), without the final linear layer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.models.cpu_convolution import convolve
from dmlp_jax.models.norm import batch_norm

STEMS = ("auto", "cifar", "imagenet")
# Images of more pixels a side get the stem for ImageNet.
LARGEST_SMALL_SIDE = 64

conv = partial(
    nn.Conv,
    use_bias=False,
    kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    conv_general_dilated=convolve,
)


class ResNet(nn.Module):
    """A ResNet that returns its average-pooled features.

    With block 'preact' it is the network of DivideMix and ELR+. As in their code, the stem has its own batch
    norm and ReLU, and there are none between the last block and the pooling, where He et al. have both.
    Blocks without a projection add their raw input, as in He et al.; the code of DivideMix and ELR+ adds the
    input after batch norm and ReLU.

    Attributes:
        stage_sizes: number of residual blocks in each of the four stages.
        block: 'basic', 'bottleneck' (three layers, four times the width, as from ResNet-50 on) or 'preact'
            (two layers, each with batch norm and ReLU before it).
        stem: 'cifar' (3x3, stride 1, no pooling) or 'imagenet' (7x7, stride 2, max-pooling; a sixteenth of
            the work); 'auto' goes by the images, see `stem_for`.
        dtype: data type of the computation; parameters and batch statistics stay float32.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.
    """

    stage_sizes: Sequence[int]
    block: str = "basic"
    stem: str = "auto"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Features [b, 512] (or [b, 2048] with bottlenecks), float32, of images [b, h, w, channels]."""
        norm = batch_norm(train, self.dtype, self.axis_name)
        x = images.astype(self.dtype)
        stem = stem_for(max(images.shape[1:3])) if self.stem == "auto" else self.stem
        if stem == "cifar":
            x = conv(64, (3, 3), padding=1, dtype=self.dtype, name="stem")(x)
        else:
            x = conv(64, (7, 7), (2, 2), padding=3, dtype=self.dtype, name="stem")(x)
        x = nn.relu(norm(name="stem_norm")(x))
        if stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        block = {"basic": _Basic, "bottleneck": _Bottleneck, "preact": _PreAct}[self.block]
        for stage, size in enumerate(self.stage_sizes):
            for index in range(size):
                stride = 2 if stage > 0 and index == 0 else 1
                x = block(64 * 2**stage, stride, norm, self.dtype)(x)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


def stem_for(side: int) -> str:
    """The usual stem for images of `side` pixels: 'imagenet' above 64, else 'cifar'."""
    return "imagenet" if side > LARGEST_SMALL_SIDE else "cifar"


class _Basic(nn.Module):
    width: int
    stride: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        step = (self.stride, self.stride)
        y = conv(self.width, (3, 3), step, padding=1, dtype=self.dtype)(x)
        y = nn.relu(self.norm()(y))
        y = conv(self.width, (3, 3), padding=1, dtype=self.dtype)(y)
        y = self.norm()(y)
        if x.shape != y.shape:
            x = self.norm()(conv(self.width, (1, 1), step, dtype=self.dtype)(x))
        return nn.relu(x + y)


class _Bottleneck(nn.Module):
    width: int
    stride: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        step = (self.stride, self.stride)
        y = nn.relu(self.norm()(conv(self.width, (1, 1), dtype=self.dtype)(x)))
        y = conv(self.width, (3, 3), step, padding=1, dtype=self.dtype)(y)
        y = nn.relu(self.norm()(y))
        y = self.norm()(conv(4 * self.width, (1, 1), dtype=self.dtype)(y))
        if x.shape != y.shape:
            x = self.norm()(conv(4 * self.width, (1, 1), step, dtype=self.dtype)(x))
        return nn.relu(x + y)


class _PreAct(nn.Module):
    width: int
    stride: int
    norm: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        step = (self.stride, self.stride)
        y = nn.relu(self.norm()(x))
        if self.stride > 1 or x.shape[-1] != self.width:
            x = conv(self.width, (1, 1), step, dtype=self.dtype)(y)
        y = conv(self.width, (3, 3), step, padding=1, dtype=self.dtype)(y)
        y = nn.relu(self.norm()(y))
        return x + conv(self.width, (3, 3), padding=1, dtype=self.dtype)(y)
