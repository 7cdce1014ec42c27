"""What all loops of a run share: devices, log, and when to stop."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from dmlp_jax.training.metrics import MetricsLog


class Stopped(Exception):  # noqa: N818 (no error)
    """A loop was asked to stop; its state is saved and the same call goes on from there."""


def _never() -> bool:
    return False


class Session(NamedTuple):
    """Where the loops of a run work, and whom they tell.

    Attributes:
        devices: to run on.
        log: receives the metrics.
        log_seconds: at most one progress line in this time.
        stop: asked between steps; once it is true, a loop saves its state and raises `Stopped`.
        one_disk: whether all processes see the same folders; otherwise process 0 alone saves.
    """

    devices: list[jax.Device]
    log: MetricsLog
    log_seconds: float = 2.0
    stop: Callable[[], bool] = _never
    one_disk: bool = True
