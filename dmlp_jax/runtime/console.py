"""Makes console output robust: unencodable characters and closed pipes do not crash a command."""

import io
import os
import sys
from collections.abc import Callable

# The exit status when the reader closed the pipe: what a shell reports for a program ended by SIGPIPE.
CLOSED = 141


def accept_any_text() -> None:
    """Makes stdout and stderr escape characters that their encoding lacks, as file names may contain them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
