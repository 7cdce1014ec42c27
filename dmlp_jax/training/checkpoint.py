"""Checkpoints of a training loop: Orbax, asynchronous, complete or invisible.

The state is saved unreplicated, with the numbers that a resumed loop needs beside it. A save that a kill
cut short is ignored and cleaned up. A checksum of both is saved too: Orbax reads arrays in which a bit has
flipped without complaint. Orbax is imported here only.
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
    """A checkpoint: epochs finished, state, and the progress record saved with it."""

    epoch: int
    state: Any
    progress: dict[str, Any]


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, which leaves preemption notices to the loop.

    JAX lets a program ask for notices with one counter only; see `hosts.make_stop`. Orbax would ask too,
    with epochs for its counter, and the point agreed on could be one that the loop, which counts its steps,
    is past: the notice would be lost.
    """

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpoints:
    """The checkpoints of one loop in one folder; use as a context manager, which waits for the last save.

    Args:
        folder: where they lie; made if absent.
        keep: how many of the latest to keep.
        one_disk: whether all processes see this folder. If not, each reads its own, and process 0 alone
            saves.
    """

    def __init__(self, folder: Path, keep: int = 2, one_disk: bool = True):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=True
        )
        if not one_disk:
            own = jax.process_index()
            alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
            options = dataclasses.replace(options, multiprocessing_options=alone, create=False)
        self._silent = not one_disk and not hosts.is_main()
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
        """Saves in the background what is true after `epoch` epochs.

        Raises:
            UserError: this save or the one before failed, for instance because the disk is full.
        """
        if self._silent:
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
        state, progress = stored["state"], dict(stored["progress"])
        # Checkpoints of earlier versions have no checksum.
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
                # What the operating system has against it, as TensorStore words it.
                code = re.search(r"os_error_code='(\d+)'", str(error))
                if code is None:
                    raise
                number = int(code.group(1))
                raise OSError(number, os.strerror(number)) from error


def _digest(state: Any, progress: dict[str, Any]) -> str:
    """SHA-256 of a state's arrays and of the progress record; the same before a save and after it."""
    found = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
