"""Batch norm as all networks here use it."""

from functools import partial
from typing import Any

import flax.linen as nn


def batch_norm(train: bool, dtype: Any, axis_name: str | None) -> Any:
    """A maker of batch-norm layers whose running statistics keep 90 % at a step, PyTorch's default.

    Args:
        train: normalise by the batch, else by the running statistics.
        dtype: of the computation; parameters and statistics stay float32.
        axis_name: pmap axis over which the batch is spread, None for the device's own statistics.
    """
    return partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name,
    )
