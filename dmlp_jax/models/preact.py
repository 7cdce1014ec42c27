"""PreAct ResNet-18 (He et al. 2016, identity mappings) as DivideMix and ELR+ use it."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.models.resnet import conv


class PreActResNet(nn.Module):
    """Pre-activation blocks after a 3x3 stem.

    As in DivideMix's code the stem has batch norm and ReLU of its own, and nothing stands between the last
    block and the pooling, where He et al. have both. Blocks without a projection add their input, as in He et
    al.; in DivideMix's code they add what batch norm and ReLU make of it.

    Attributes:
        stage_sizes: residual blocks in each of the four stages.
        dtype: of the computation; parameters and batch statistics stay float32.
        axis_name: pmap axis of batch norm, None for the device's own statistics.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Features [b, 512], float32, of images [b, h, w, channels]."""
        norm = partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        x = conv(64, (3, 3), padding=1, dtype=self.dtype, name="stem")(images.astype(self.dtype))
        x = nn.relu(norm(name="stem_norm")(x))
        for stage, size in enumerate(self.stage_sizes):
            for index in range(size):
                stride = 2 if stage > 0 and index == 0 else 1
                x = _Block(64 * 2**stage, stride, norm, self.dtype)(x)
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


class _Block(nn.Module):
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
