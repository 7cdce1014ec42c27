"""Defines what all training loops of a run share: devices, metrics log and stop signal."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from dmlp_jax.training.metrics import MetricsLog


class Stopped(Exception):  # noqa: N818 (no error)
    """A loop was asked to stop; its finished epochs are saved and the same call resumes from there."""


def _never() -> bool:
    return False


class Session(NamedTuple):
    """What all training loops of a run share.

    Attributes:
        devices: this process's devices to run on.
        log: the metrics log.
        log_seconds: print at most one progress line per this many seconds.
        stop: called between steps; once it returns true, a loop saves its finished epochs and raises
            `Stopped`.
        one_disk: whether all processes see the same folders; if not, only process 0 saves.
    """

    devices: list[jax.Device]
    log: MetricsLog
    log_seconds: float = 2.0
    stop: Callable[[], bool] = _never
    one_disk: bool = True
