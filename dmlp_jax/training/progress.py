"""Prints the progress of a training loop, and formats its metrics and times."""

import time
from collections.abc import Callable

from dmlp_jax.runtime import timing

# Seconds of training at least that an estimate of the time left rests on.
LEAST_SECONDS = 0.2
# Epochs after which a measured time counts half as much as one of now.
HALF_LIFE = 3.0
# What lay between as many of the last epochs is averaged.
RECENT = 5


class Progress:
    """Prints progress lines of a loop: epoch, metrics, images per second, time left.

    The time left is that of this loop. It does not count compiling, nor the first call of a step, which is
    slower than others. What lies between two epochs (evaluation, choice of rows, checkpoints) is counted by
    itself, once it has been seen; before that, and while epochs of another kind are still to come, no time is
    told.

    Args:
        title: start of each line.
        epochs: total number of epochs.
        seconds: print at most one line per this many seconds.
        done: epochs done by an earlier run.
        work_between: whether something that takes time lies between the epochs.
        alike_from: epochs that come before the first one that takes as long as all after it.
        clock: seconds that have passed, without those spent compiling.
    """

    def __init__(
        self,
        title: str,
        epochs: int,
        seconds: float,
        done: int = 0,
        *,
        work_between: bool = False,
        alike_from: int = 0,
        clock: Callable[[], float] | None = None,
    ):
        self._title, self._epochs, self._seconds = title, epochs, seconds
        self._work_between, self._alike_from = work_between, alike_from
        self._clock = timing.seconds_without_compiling() if clock is None else clock
        self._last = time.perf_counter()
        self._rows = 0
        # Since when what goes on now goes on, and at which place in the epochs; None before the first call.
        self._since: float | None = None
        self._place = float(done)
        self._trained_seconds = self._trained_epochs = self._trained_rows = 0.0
        # What each preparation of an epoch took, and what lay after each one.
        self._before: list[float] = []
        self._after: list[float] = []
        self._prepares: float | None = None
        self._ended: float | None = None
        self._alike = False
        self._finished, self._within = done, False

    def prepare_epoch(self) -> None:
        """What belongs to the epoch before has ended; the next one is prepared."""
        self._prepares = self._clock()
        if self._ended is not None:
            self._after.append(self._prepares - self._ended)

    def begin_epoch(self, epoch: int) -> None:
        """The steps of an epoch begin; `epoch` are done."""
        now = self._clock()
        if self._prepares is not None:
            self._before.append(now - self._prepares)
        if epoch >= self._alike_from and not self._alike:
            # What was measured before was of epochs of another kind.
            self._trained_seconds = self._trained_epochs = self._trained_rows = 0.0
            self._before, self._after = self._before[-1:], []
            self._alike = True
            self._since = None
        elif self._since is not None:
            self._since = now
        self._place = float(epoch)
        self._finished, self._within = epoch, True

    def first_call_done(self, epochs: float) -> None:
        """The first call of a step has ended at this place in the epochs: the clock starts here."""
        if self._since is None:
            self._since, self._place, self._rows = self._clock(), epochs, 0

    @property
    def waits_for_first_call(self) -> bool:
        """Whether `first_call_done` is still to come."""
        return self._since is None

    def count(self, rows: int) -> None:
        """Adds to the number of rows trained on."""
        self._rows += rows

    def end_epoch(self, epochs: int) -> None:
        """All steps of an epoch have ended; `show` is called after what else belongs to it."""
        self._measure(float(epochs))
        self._ended = self._clock()
        self._finished, self._within = epochs, False

    def due(self) -> bool:
        """Whether enough time has passed since the last line."""
        return time.perf_counter() - self._last >= self._seconds

    def show(self, epochs: float, text: str) -> None:
        """Prints a line for `epochs` epochs done, all of whose steps have ended; `text` holds the metrics."""
        self._last = time.perf_counter()
        if epochs > self._place:
            self._measure(epochs)
        rate = ""
        if self._trained_seconds > 0 and self._trained_rows:
            rate = f"  {self._trained_rows / self._trained_seconds:,.0f} images/s"
        left = self.seconds_left(epochs)
        told = "" if left is None else f"  {format_seconds(left)} left"
        print(f"{self._title}  epoch {epochs:.4g}/{self._epochs}  {text}{rate}{told}", flush=True)

    def seconds_left(self, epochs: float) -> float | None:
        """Seconds until the loop ends, without compiling; None where nothing is known of them yet."""
        if self._finished >= self._epochs:
            return 0.0
        if not self._alike or self._trained_seconds < LEAST_SECONDS or not self._trained_epochs:
            return None
        if self._work_between and not self._after:
            return None
        left = (self._epochs - epochs) * self._trained_seconds / self._trained_epochs
        # After each epoch that has not ended, the present one among them; before each that has not begun.
        ahead = self._epochs - self._finished
        return left + ahead * _usual(self._after) + (ahead - self._within) * _usual(self._before)

    def _measure(self, epochs: float) -> None:
        """Takes the time since the last measurement as that of the steps up to `epochs`."""
        if self._since is None:
            return
        now = self._clock()
        # A machine gets busier or quieter: what is long ago says less of what is to come.
        kept = 0.5 ** ((epochs - self._place) / HALF_LIFE)
        self._trained_seconds = kept * self._trained_seconds + now - self._since
        self._trained_epochs = kept * self._trained_epochs + epochs - self._place
        self._trained_rows = kept * self._trained_rows + self._rows
        self._since, self._place, self._rows = now, epochs, 0


def _usual(seconds: list[float]) -> float:
    """The mean of the last times, but for the very first, which is slower than the others; 0 of nothing."""
    some = seconds[1:][-RECENT:] or seconds
    return sum(some) / len(some) if some else 0.0


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
