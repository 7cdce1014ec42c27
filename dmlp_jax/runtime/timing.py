"""Measures the wall time of a block of code, with compilation separate from the rest."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax

# JAX's monitoring events for tracing, lowering and compiling.
_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class _CompileClock(threading.local):
    def __init__(self):
        self.seconds = 0.0


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
        _clock.seconds += duration_secs


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
