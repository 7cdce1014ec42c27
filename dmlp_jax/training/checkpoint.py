"""Checkpoints of a training loop: Orbax, asynchronous, complete or invisible.

The state is saved unreplicated, with the numbers that a resumed loop needs beside it. A save that a kill
cut short is ignored and cleaned up. Orbax is imported here only.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from dmlp_jax.errors import UserError


class Restored(NamedTuple):
    """A checkpoint: epochs finished, state, and the progress record saved with it."""

    epoch: int
    state: Any
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one loop in one folder; use as a context manager, which waits for the last save.

    Args:
        folder: where they lie; made if absent.
        keep: how many of the latest to keep.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=True
        )
        try:
            self._manager = ocp.CheckpointManager(folder.resolve(), options=options)
        except OSError as error:
            raise UserError(f"cannot keep checkpoints in {folder}: {error}") from error
        self.folder = folder

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, epoch: int, state: Any, progress: dict[str, Any]) -> None:
        """Saves in the background what is true after `epoch` epochs."""
        self._manager.save(
            epoch,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress)),
        )

    def restore(self, like: Any) -> Restored | None:
        """The latest complete checkpoint, None where there is none.

        Args:
            like: a state of the same structure, shapes and types; values do not matter.

        Raises:
            UserError: the checkpoint does not fit `like` or is damaged.
        """
        epoch = self._manager.latest_step()
        if epoch is None:
            return None
        abstract = jax.tree.map(_abstract, like)
        try:
            stored = self._manager.restore(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:
            # Orbax raises many kinds for a damaged checkpoint.
            raise UserError(
                f"the checkpoint {self.folder / str(epoch)} cannot be read ({error}); delete it to fall back "
                "to the one before"
            ) from error
        return Restored(epoch, stored["state"], stored["progress"])


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
