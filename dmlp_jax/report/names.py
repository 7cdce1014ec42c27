"""Names that are anybody's, class names and file names, as a page can show them."""

from typing import Any


def printable(name: str, longest: int = 40) -> str:
    """A name on one line, without control characters and bytes that were no text, cut at the end."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(name.split()))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def encodable(text: Any) -> str:
    """Text that UTF-8 can hold: file names need not be text, and then have lone surrogates."""
    return str(text).encode("utf-8", "backslashreplace").decode()
