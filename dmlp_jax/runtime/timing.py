"""Measures the wall time of a block of code, with compilation separate from the rest."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

# Spans of events that are remembered, because one that encloses them may still end.
_KEPT = 10_000
# JAX's monitoring events for tracing, lowering and compiling.
_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class _CompileClock(threading.local):
    """Seconds spent compiling in this thread; what happens inside another event is counted once."""

    def __init__(self):
        self.seconds = 0.0
        self._spans: list[tuple[float, float]] = []

    def add(self, end: float, duration: float) -> None:
        """Adds an event of `duration` seconds that has ended at `end`."""
        start = end - duration
        # Traces of functions inside a function end before its own does.
        while self._spans and self._spans[-1][0] >= start:
            first, last = self._spans.pop()
            self.seconds -= last - first
        if self._spans:
            start = max(start, self._spans[-1][1])
        self.seconds += max(0.0, end - start)
        self._spans.append((start, end))
        del self._spans[:-_KEPT]


_clock = _CompileClock()
_listening = False


def _listen() -> None:
    """Registers one listener per process, because JAX cannot remove a single listener again."""
    global _listening
    if not _listening:
        jax.monitoring.register_event_duration_secs_listener(_on_event)
        _listening = True


def _on_event(event: str, duration_secs: float, **_: object) -> None:
    if event in _EVENTS:
        _clock.add(time.perf_counter(), duration_secs)


def seconds_without_compiling() -> Callable[[], float]:
    """A clock that starts at 0 now and stands still while this thread compiles."""
    _listen()
    start, compiled = time.perf_counter(), _clock.seconds
    return lambda: time.perf_counter() - start - (_clock.seconds - compiled)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Yields a dict that holds 'compile' and 'run' seconds after the block; their sum is the wall time."""
    _listen()
    seconds: dict[str, float] = {}
    start, compiled = time.perf_counter(), _clock.seconds
    try:
        yield seconds
    finally:
        total = time.perf_counter() - start
        seconds["compile"] = min(_clock.seconds - compiled, total)
        seconds["run"] = total - seconds["compile"]
