"""Features of a frozen encoder."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dmlp_jax.data import augment


def extract(encoder: nn.Module, variables: dict[str, Any], inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Features [n, d], float32, of inputs [n, ...], by the encoder in inference mode.

    The encoder's parameters and batch statistics are read, never written.

    Args:
        encoder: from `models.registry.make_encoder`.
        variables: its linen variables.
        inputs: uint8 images, or features.
        batch_size: inputs per step; the last batch is padded, so there is one compilation.
    """
    batch_size = min(batch_size, len(inputs))
    parts = []
    for start in range(0, len(inputs), batch_size):
        rows = inputs[start : start + batch_size]
        missing = batch_size - len(rows)
        padded = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
        parts.append(_apply(encoder, variables, padded)[: len(rows)])
    return np.concatenate([np.asarray(part) for part in parts])


@partial(jax.jit, static_argnums=0)
def _apply(encoder: nn.Module, variables: dict[str, Any], inputs: jax.Array) -> jax.Array:
    return encoder.apply(variables, augment.to_float(inputs), False)
