"""Makes names fit for the page: arbitrary class and file names, and the sources of labels."""

from typing import Any

_SOURCES = {
    "val_only_probe": "probe trained on the clean rows only",
    "noisy_probe": "probe trained on the noisy labels",
    "noisy_plus_val_probe": "probe trained on noisy labels and clean rows",
}


def of_source(key: str) -> str:
    """A source of labels in words, from its key, such as 'noisy_probe'."""
    return _SOURCES.get(key, key.replace("_", " "))


def printable(name: str, longest: int = 40) -> str:
    """A name on one line, at most `longest` characters, with unprintable characters replaced."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(name.split()))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def encodable(text: Any) -> str:
    """Text that UTF-8 can encode; the lone surrogates of file names that are not text are escaped."""
    return str(text).encode("utf-8", "backslashreplace").decode()
