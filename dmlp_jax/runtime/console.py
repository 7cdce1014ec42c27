"""What a command prints to."""

import io
import os
import sys
from collections.abc import Callable

# The exit status of a command whose reader has gone, as the shell reports a program that SIGPIPE ended.
CLOSED = 141


def accept_any_text() -> None:
    """Lets the standard streams show, escaped, what their encoding lacks: names of files need not be text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def until_closed(command: Callable[[], int]) -> int:
    """Runs a command, which ends without a word when nobody reads its output any more, as with `| head`.

    Returns:
        The command's exit status, or `CLOSED`.
    """
    try:
        status = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered cannot be written at the end of the process either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    return status
