"""Sends metrics to TensorBoard and to Weights & Biases, beside metrics.jsonl. Both libraries are extras."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dmlp_jax.errors import UserError


class Board(Protocol):
    """Something that shows metrics while a run goes on."""

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Adds `values` of `stage` at `step`."""

    def close(self) -> None:
        """Sends what is left."""


class TensorBoard:
    """Event files in a folder, for `tensorboard --logdir`.

    Args:
        folder: made if absent.

    Raises:
        UserError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError("tensorboard=True needs tensorboardX: pip install tensorboardX") from error
        self._writer = SummaryWriter(str(folder))

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Adds `values` of `stage` at `step`."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WandB:
    """A run of a project at Weights & Biases; a resumed run goes on with the same one.

    Each stage has its own axis, `<stage>/step`, because steps start anew in every stage. The environment
    variables of wandb apply: WANDB_MODE=offline keeps everything in the folder, for `wandb sync`.

    Args:
        project: name of the project.
        folder: the workdir, in whose folder `wandb` the library keeps its files.
        settings: settings of the run, which the page shows.

    Raises:
        UserError: wandb is not installed, or the run cannot be started, for instance without a login.
    """

    def __init__(self, project: str, folder: Path, settings: Mapping[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"wandb={project} needs wandb: pip install wandb") from error
        # The same workdir is the same run, whoever resumes it.
        identity = hashlib.sha256(str(folder.resolve()).encode("utf-8", "backslashreplace")).hexdigest()[:16]
        try:
            self._run = wandb.init(
                project=project,
                dir=str(folder),
                id=identity,
                name=folder.name,
                resume="allow",
                config=dict(settings),
            )
        except Exception as error:
            # The library raises errors of several types, of its own and of its connections.
            raise UserError(
                f"wandb={project}: {error}; log in with `wandb login`, or set WANDB_MODE=offline"
            ) from error
        self._stages: set[str] = set()

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Adds `values` of `stage` at `step`."""
        axis = f"{stage}/step"
        if stage not in self._stages:
            self._run.define_metric(axis)
            self._run.define_metric(f"{stage}/*", step_metric=axis)
            self._stages.add(stage)
        self._run.log({axis: step, **{f"{stage}/{name}": value for name, value in values.items()}})

    def close(self) -> None:
        """Sends what is left, and ends the run."""
        self._run.finish()
