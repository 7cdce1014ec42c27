"""Prints the progress of a training loop, and formats its metrics and times."""

import time


class Progress:
    """Prints progress lines of a loop: epoch, metrics, images per second, time left.

    Args:
        title: start of each line.
        epochs: total number of epochs.
        seconds: print at most one line per this many seconds.
        done: epochs done by an earlier run.
    """

    def __init__(self, title: str, epochs: int, seconds: float, done: int = 0):
        self._title, self._epochs, self._seconds = title, epochs, seconds
        self._start = self._last = time.perf_counter()
        self._first, self._rows = done, 0

    def count(self, rows: int) -> None:
        """Adds to the number of rows trained on."""
        self._rows += rows

    def due(self) -> bool:
        """Whether enough time has passed since the last line."""
        return time.perf_counter() - self._last >= self._seconds

    def show(self, epochs: float, text: str) -> None:
        """Prints a line for `epochs` epochs done; `text` holds the metrics."""
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
    """Formats metrics as 'loss 0.1234  test_accuracy 0.9'."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def format_seconds(seconds: float) -> str:
    """Formats seconds as '42 s', '3 min 20 s' or '2 h 5 min'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
