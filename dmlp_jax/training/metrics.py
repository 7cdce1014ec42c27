"""Writes training metrics to metrics.jsonl and optionally to TensorBoard, and prints progress lines."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any, TextIO

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files


class MetricsLog:
    """Appends metrics to a file, one JSON object per line: stage, step, time (Unix seconds) and the values.

    Args:
        path: metrics.jsonl. An incomplete last line, left by a kill, is dropped when the file is opened. None
            writes nothing; of several processes, all but the main one use it.
        tensorboard: also write TensorBoard event files to the folder `tensorboard` beside the file.
    """

    def __init__(self, path: Path | None, tensorboard: bool = False):
        self._path = path
        if path is None:
            return
        lines = _complete_lines(path)
        files.save_text(path, "".join(lines))
        self._file = _open(path)
        self._board = _tensorboard(path.parent / "tensorboard") if tensorboard else None

    def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """Appends `values` (numbers) of `stage` at `step`."""
        if self._path is None:
            return
        record = {"stage": stage, "step": int(step), "time": round(time.time(), 3)}
        record.update({name: float(value) for name, value in values.items()})
        with files.writing(self._path):
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{stage}/{name}", float(value), int(step))

    def rewind(self, stage: str, step: int) -> None:
        """Removes the lines of `stage` after `step`, because a resumed loop writes them again."""
        if self._path is None:
            return
        self._file.close()
        kept = []
        for line in _complete_lines(self._path):
            record = json.loads(line)
            if record.get("stage") != stage or record.get("step", 0) <= step:
                kept.append(line)
        files.save_text(self._path, "".join(kept))
        self._file = _open(self._path)

    def close(self) -> None:
        """Closes the files."""
        if self._path is None:
            return
        # Closing flushes what a full disk refused before, and fails again.
        with contextlib.suppress(OSError):
            self._file.close()
        if self._board is not None:
            self._board.close()


def _complete_lines(path: Path) -> list[str]:
    """The lines of the file that are complete JSON objects; none if it is absent."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            whole = line.endswith("\n") and isinstance(json.loads(line), dict)
        except (ValueError, RecursionError):
            whole = False
        if whole:
            kept.append(line)
    return kept


def _open(path: Path) -> TextIO:
    with files.writing(path):
        return path.open("a", encoding="utf-8")


def _tensorboard(folder: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError("tensorboard=True needs tensorboardX: pip install tensorboardX") from error
    return SummaryWriter(str(folder))
