"""Defines small networks: a CNN for images of about 8x8 pixels and a multi-layer perceptron for features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlp_jax.models.norm import batch_norm


class Conv3x3(nn.Module):
    """A 3x3 convolution without bias, computed as nine shifted slices and one matrix product.

    The output is the same as that of `nn.Conv`. XLA's CPU backend computes the gradient of a small
    convolution several times slower than that of the matrix product; on accelerators prefer `nn.Conv`.

    Attributes:
        width: number of output channels.
        stride: stride along both axes.
        dtype: data type of the computation.
    """

    width: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x [b, h, w, channels] to [b, ceil(h / stride), ceil(w / stride), width]; zero padding."""
        height, width = x.shape[1:3]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = [
            padded[:, i : i + height : self.stride, j : j + width : self.stride]
            for i in range(3)
            for j in range(3)
        ]
        # Without the barrier XLA fuses the slices into the product and recomputes them many times.
        patches = jax.lax.optimization_barrier(jnp.concatenate(shifts, axis=-1))
        return nn.Dense(self.width, use_bias=False, dtype=self.dtype)(patches)


class SmallCNN(nn.Module):
    """Three 3x3 convolutions with batch norm, then a dense layer; designed for scikit-learn's digits.

    Attributes:
        width: channels of the first convolution; the others have twice and four times as many.
        features: width of the output.
        dtype: data type of the computation.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.
    """

    width: int = 32
    features: int = 128
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Features [b, features], float32, of images [b, h, w, channels]."""
        norm = batch_norm(train, self.dtype, self.axis_name)
        x = images.astype(self.dtype)
        for index, stride in enumerate((1, 2, 2)):
            x = Conv3x3(self.width * 2**index, stride, self.dtype)(x)
            x = nn.relu(norm()(x))
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.features, dtype=self.dtype)(x).astype(jnp.float32)


class MLP(nn.Module):
    """Hidden layers with batch norm and ReLU; without layers it returns its input.

    Attributes:
        layers: number of hidden layers.
        width: width of each; 0 for the input's width.
        dtype: data type of the computation.
        axis_name: pmap axis over which batch norm averages its statistics; None uses each device's own.
    """

    layers: int = 1
    width: int = 512
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Maps features [b, d] to features [b, width], float32."""
        x = features.astype(self.dtype)
        for _ in range(self.layers):
            x = nn.Dense(self.width or features.shape[-1], use_bias=False, dtype=self.dtype)(x)
            x = batch_norm(train, self.dtype, self.axis_name)()(x)
            x = nn.relu(x)
        return x.astype(jnp.float32)
