"""Saves and restores checkpoints of a training loop with Orbax: asynchronous, atomic, with a checksum.

A checkpoint holds the unreplicated state and a progress record that a resumed loop needs. A save interrupted
by a kill is ignored and cleaned up. A checksum of both is saved as well, because Orbax does not detect
flipped bits in arrays. Orbax is imported only in this module.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from dmlp_jax.errors import UserError
from dmlp_jax.runtime import hosts
from dmlp_jax.storage import files


class Restored(NamedTuple):
    """A restored checkpoint.

    Attributes:
        epoch: epochs finished.
        state: a pytree of arrays.
        progress: the progress record saved with the state.
    """

    epoch: int
    state: Any
    progress: dict[str, Any]


class _Manager(ocp.CheckpointManager):
    """Orbax's manager with its own preemption check disabled; the training loop checks instead.

    JAX's preemption sync point supports one counter per program; see `hosts.make_stop`. Orbax would call it
    with the epoch, while the loop calls it with its own count. They could agree on a number that the loop has
    already passed, and the preemption notice would be lost.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints of one loop in one folder; a context manager that waits for the last save on exit.

    Args:
        folder: folder of the checkpoints; created if absent.
        keep: number of latest checkpoints to keep.
        one_disk: whether all processes see the same folder. If not, each process reads its own folder, and
            only process 0 saves.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, keep: int = 2, one_disk: bool = True):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=True
        )
        if not one_disk:
            own = jax.process_index()
            alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
            options = dataclasses.replace(options, multiprocessing_options=alone, create=False)
        self._saves_nothing = not one_disk and not hosts.is_main()
        try:
            if not one_disk:
                folder.mkdir(parents=True, exist_ok=True)
            self._manager = _Manager(folder.resolve(), options=options)
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
        try:
            with self._saving():
                self._manager.wait_until_finished()
        finally:
            self._manager.close()

    def save(self, epoch: int, state: Any, progress: dict[str, Any]) -> None:
        """Saves state and progress record after `epoch` epochs, in the background.

        Raises:
            UserError: this save or the one before failed, for instance because the disk is full.
        """
        if self._saves_nothing:
            return
        signed = {**progress, "sha256": _digest(state, progress)}
        with self._saving():
            self._manager.save(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(signed)
                ),
            )

    def restore(self, like: Any) -> Restored | None:
        """Restores the latest complete checkpoint; None if there is none.

        Args:
            like: a state with the same structure, shapes and types; its values are not used.

        Raises:
            UserError: the checkpoint is damaged or does not match `like`.
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
            # Orbax raises exceptions of many types for a damaged checkpoint.
            raise UserError(
                f"the checkpoint {self.folder / str(epoch)} cannot be read ({error}); delete it to fall back "
                "to the one before"
            ) from error
        state, progress = stored["state"], dict(stored["progress"])
        # Checkpoints written by earlier versions have no checksum.
        digest = progress.pop("sha256", None)
        if digest is not None and digest != _digest(state, progress):
            raise UserError(
                f"the checkpoint {self.folder / str(epoch)} is damaged, its checksum is not that of what was "
                "saved; delete it to fall back to the one before"
            )
        return Restored(epoch, state, progress)

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        with files.writing(self.folder):
            try:
                yield
            except ValueError as error:
                # TensorStore reports an error of the operating system as a ValueError with its code.
                code = re.search(r"os_error_code='(\d+)'", str(error))
                if code is None:
                    raise
                number = int(code.group(1))
                raise OSError(number, os.strerror(number)) from error


def _digest(state: Any, progress: dict[str, Any]) -> str:
    """SHA-256 of a state's arrays and of the progress record; unchanged by saving and restoring."""
    found = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
