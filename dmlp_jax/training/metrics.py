"""Numbers as they come: metrics.jsonl, progress lines, TensorBoard where asked for."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any, TextIO

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files


class MetricsLog:
    """Appends one JSON object a line: stage, step, seconds since 1970, and the numbers.

    Args:
        path: metrics.jsonl. A last line torn by a kill is dropped when the file is opened. None writes
            nothing, which is what all but the main process of several do.
        tensorboard: also write TensorBoard event files into the folder `tensorboard` beside it.
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
        """Removes what `stage` wrote after `step`: a resumed loop writes it again."""
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
        # What a full disk refused would be written again here, and refused again.
        with contextlib.suppress(OSError):
            self._file.close()
        if self._board is not None:
            self._board.close()


class Progress:
    """Prints a line about a loop now and then: where it is, its loss, images per second, time left.

    Args:
        title: what the lines start with.
        epochs: in all.
        seconds: at most one line in this time.
        done: epochs done before, by an earlier run.
    """

    def __init__(self, title: str, epochs: int, seconds: float, done: int = 0):
        self._title, self._epochs, self._seconds = title, epochs, seconds
        self._start = self._last = time.perf_counter()
        self._first, self._rows = done, 0

    def count(self, rows: int) -> None:
        """Takes note of rows trained on."""
        self._rows += rows

    def due(self) -> bool:
        """Whether a line may be printed now."""
        return time.perf_counter() - self._last >= self._seconds

    def show(self, epochs: float, text: str) -> None:
        """Prints a line for `epochs` epochs done, with `text` in it."""
        now = time.perf_counter()
        self._last = now
        spent = max(now - self._start, 1e-9)
        left = spent * (self._epochs - epochs) / max(epochs - self._first, 1e-9)
        print(
            f"{self._title}  epoch {epochs:.4g}/{self._epochs}  {text}  {self._rows / spent:,.0f} images/s  "
            f"{format_seconds(left)} left",
            flush=True,
        )


def format_values(values: dict[str, float]) -> str:
    """Numbers as 'loss 0.1234  test_accuracy 0.9'."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def format_seconds(seconds: float) -> str:
    """Seconds as '42 s', '3 min 20 s' or '2 h 5 min'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _complete_lines(path: Path) -> list[str]:
    """The lines of the file that are whole JSON objects, none if it is absent."""
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
