"""Defines `UserError`, for errors that the user can mend, and suggests the nearest known name for a typo."""

import difflib


class UserError(Exception):
    """An error in the configuration, the data or the workdir that the user can mend.

    The message says what is wrong, where, and how to mend it. The command line prints it without a traceback.
    """


def nearest(name: str, known: list[str]) -> str:
    """A hint such as `; did you mean 'noise.rate'?`; empty if no known name is similar."""
    tail = name.rsplit(".", 1)[-1]
    close = [key for key in known if key.rsplit(".", 1)[-1] == tail]
    if len(close) != 1:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or close[:1]
    return f"; did you mean {close[0]!r}?" if close else ""
