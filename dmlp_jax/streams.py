"""What a command prints to."""

import io
import sys


def accept_any_text() -> None:
    """Lets the standard streams show, escaped, what their encoding lacks: names of files need not be text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
