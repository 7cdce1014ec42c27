"""Writes training metrics to metrics.jsonl, and hands them on to boards such as TensorBoard."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from dmlp_jax.storage import files
from dmlp_jax.training.boards import Board


class MetricsLog:
    """Appends metrics to a file, one JSON object per line: stage, step, time (Unix seconds) and the values.

    Args:
        path: metrics.jsonl. An incomplete last line, left by a kill, is dropped when the file is opened. None
            writes nothing; of several processes, all but the main one use it.
        boards: what else gets the metrics; closed with the log.
    """

    def __init__(self, path: Path | None, boards: Sequence[Board] = ()):
        self._path, self._boards = path, boards
        if path is None:
            return
        lines = _complete_lines(path)
        files.save_text(path, "".join(lines))
        self._file = _open(path)

    def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """Appends `values` (numbers) of `stage` at `step`."""
        if self._path is None:
            return
        record = {"stage": stage, "step": int(step), "time": round(time.time(), 3)}
        numbers = {name: float(value) for name, value in values.items()}
        record.update(numbers)
        with files.writing(self._path):
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        for board in self._boards:
            board.write(stage, int(step), numbers)

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
        for board in self._boards:
            board.close()


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
