"""Features of a frozen encoder."""

from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dmlp_jax.data import augment
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.training import inference


def extract(
    encoder: nn.Module,
    variables: dict[str, Any],
    inputs: Images,
    batch_size: int,
    devices: list[jax.Device] | None = None,
    crop_size: int = 0,
) -> np.ndarray:
    """Features [n, d], float32, of inputs [n, ...], by the encoder in inference mode.

    The encoder's parameters and batch statistics are read, never written.

    Args:
        encoder: from `models.registry.make_encoder`.
        variables: its linen variables.
        inputs: uint8 images, or features.
        batch_size: inputs per step; the last batch is padded, so there is one compilation.
        devices: that share the batches; None for all local ones.
        crop_size: side of the central square that the encoder sees; 0 for the whole image.
    """
    devices = jax.local_devices() if devices is None else devices
    return inference.over_rows(_forward(encoder, crop_size), (inputs,), devices, batch_size)(variables)


@cache
def _forward(encoder: nn.Module, crop_size: int) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
    # The same function for the same encoder, so that train, val and test rows share its compilation.
    def forward(variables, inputs):
        return encoder.apply(variables, augment.centre(augment.to_float(inputs), crop_size), False)

    return forward
