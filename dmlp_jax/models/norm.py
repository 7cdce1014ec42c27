"""Defines the batch-norm settings that all networks share."""

from functools import partial
from typing import Any

import flax.linen as nn


def batch_norm(train: bool, dtype: Any, axis_name: str | None) -> Any:
    """Returns `nn.BatchNorm` with a running-average decay of 0.9 (PyTorch's default) and epsilon 1e-5.

    Args:
        train: normalise by batch statistics; otherwise by the running statistics.
        dtype: data type of the computation; parameters and statistics stay float32.
        axis_name: pmap axis over which statistics are averaged; None uses each device's own.
    """
    return partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name,
    )
