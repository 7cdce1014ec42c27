"""Makes console output robust: unencodable characters and closed pipes do not crash a command."""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

# The exit status when the reader closed the pipe: what a shell reports for a program ended by SIGPIPE.
CLOSED = 141


def accept_any_text() -> None:
    """Makes stdout and stderr escape characters that their encoding lacks, as file names may contain them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Outliving:
    """A stream that goes on without its reader: what is printed after `| head` has ended is dropped."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # What is buffered goes nowhere, too, or Python would fail again when it flushes at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlive_readers() -> None:
    """Makes a command go on silently when the reader of its output has gone, because it writes files, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _Outliving(stream))


def until_closed(command: Callable[[], int]) -> int:
    """Runs a command and ends it silently if the reader of its output closes the pipe, as with `| head`.

    Returns:
        The command's exit status, or `CLOSED`.
    """
    try:
        status = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # Otherwise Python would fail again when it flushes the buffered output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    return status
