"""The error that a user can mend, and the hint that goes with a mistyped name."""

import difflib


class UserError(Exception):
    """Something in the configuration, the data or the workdir that the user can put right.

    The message says what is wrong, where, and how to mend it; the command line prints it without a
    traceback.
    """


def nearest(name: str, known: list[str]) -> str:
    """A hint like `; did you mean 'noise.rate'?`, empty where nothing is near."""
    tail = name.rsplit(".", 1)[-1]
    close = [key for key in known if key.rsplit(".", 1)[-1] == tail]
    if len(close) != 1:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or close[:1]
    return f"; did you mean {close[0]!r}?" if close else ""
