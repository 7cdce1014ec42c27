"""Extracts features with a frozen encoder."""

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
    """Features [n, d], float32, of inputs [n, ...], with the encoder in inference mode.

    The encoder's parameters and batch statistics are not changed.

    Args:
        encoder: from `models.registry.make_encoder`.
        variables: the encoder's linen variables.
        inputs: uint8 images, or features.
        batch_size: inputs per step; the last batch is padded, so there is only one compilation.
        devices: the devices that share each batch; None for all local ones.
        crop_size: side of the central crop that the encoder sees; 0 for the whole image.
    """
    devices = jax.local_devices() if devices is None else devices
    return inference.over_rows(_forward(encoder, crop_size), (inputs,), devices, batch_size)(variables)


@cache
def _forward(encoder: nn.Module, crop_size: int) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
    # Cached, so that train, val and test rows share one compilation per encoder.
    def forward(variables, inputs):
        return encoder.apply(variables, augment.centre(augment.to_float(inputs), crop_size), False)

    return forward
