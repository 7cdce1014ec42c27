"""Collects an epoch's metrics without blocking the devices; a loss that is not finite stops the run."""

from typing import Any

import jax
import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.training.progress import Progress, format_values


class Watch:
    """Collects the metrics of one epoch.

    Args:
        stage: name in messages; the part before the first '/' is the section of the settings.
        epoch: epochs done before.
        steps: number of steps in this epoch.
        progress: prints progress lines.
    """

    def __init__(self, stage: str, epoch: int, steps: int, progress: Progress):
        self._stage, self._epoch, self._steps, self._progress = stage, epoch, steps, progress
        self._pending: list[dict] = []
        self._seen: list[dict[str, np.ndarray]] = []

    def add(self, done: int, rows: int, metrics: dict[str, jax.Array]) -> None:
        """Adds the metrics of a call.

        Args:
            done: number of steps of the epoch dispatched so far.
            rows: number of rows trained on in this call.
            metrics: arrays [steps] by name; they may still be being computed.

        Raises:
            UserError: a progress line is due and a loss is not finite.
        """
        self._pending.append(metrics)
        if self._progress.waits_for_first_call:
            # Once a loop: from here on time is measured, and what was dispatched before must have ended.
            jax.block_until_ready(metrics)
            self._progress.first_call_done(self._epoch + done / self._steps)
        else:
            self._progress.count(rows)
        if self._progress.due():
            latest = self._collect()
            text = format_values({"loss": float(latest["loss"][-1])})
            self._progress.show(self._epoch + done / self._steps, text)

    def finish(self) -> dict[str, float]:
        """Means over the epoch; a metric that only some steps report is averaged over those steps.

        Raises:
            UserError: a loss is not finite.
        """
        self._collect()
        names = dict.fromkeys(name for part in self._seen for name in part)
        return {
            name: float(np.mean(np.concatenate([part[name] for part in self._seen if name in part])))
            for name in names
        }

    def _collect(self) -> dict[str, np.ndarray]:
        for metrics in self._pending:
            values = {name: _local(value) for name, value in metrics.items()}
            bad = ~np.isfinite(values["loss"])
            if bad.any():
                before = sum(len(part["loss"]) for part in self._seen)
                key = self._stage.split("/")[0]
                raise UserError(
                    f"{self._stage}: the loss is {values['loss'][bad][0]} at step "
                    f"{before + int(np.argmax(bad)) + 1} of epoch {self._epoch + 1}; lower {key}.lr or, with "
                    f"the cosine schedule, raise {key}.warmup_epochs. Changed settings need another "
                    f"--workdir, or this stage's folder, {self._stage}, deleted in it"
                )
            self._seen.append(values)
        self._pending.clear()
        return self._seen[-1]


def _local(value: Any) -> np.ndarray:
    """Copies metrics [steps] from one device; they are the same on all devices."""
    array = np.asarray(value.addressable_shards[0].data)
    return array[0] if array.ndim == 2 else array
