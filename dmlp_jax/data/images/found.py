"""Finds the image files of a folder and its sub-folders, and accounts for every other file."""

import os
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# What systems and tools leave in folders beside names that begin with a dot.
_HIDDEN = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}


class Found(NamedTuple):
    """The files of a folder; paths as strings, each list in the order of the names.

    Attributes:
        images: files with one of `SUFFIXES`, those of sub-folders too.
        unknown: files of another kind.
        hidden: files and folders that systems and tools hide; nothing inside them is looked at.
    """

    images: list[str]
    unknown: list[str]
    hidden: list[str]

    def followed(self, folder: Path) -> dict[str, int]:
        """The number of images in each sub-folder of `folder` that holds any."""
        counts: dict[str, int] = {}
        for path in self.images:
            parent = os.path.dirname(path)
            if parent != str(folder):
                counts[parent] = counts.get(parent, 0) + 1
        return counts


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left by the system: nobody's data."""
    return name.startswith(".") or name.lower() in _HIDDEN


def is_image(name: str) -> bool:
    """Whether a file of this name is an image of a kind that is read."""
    return name.lower().endswith(SUFFIXES)


def walk(folder: Path) -> Found:
    """The files of a folder and of its sub-folders, links to folders included; no file is opened.

    Raises:
        OSError: a folder cannot be read.
    """
    found = Found([], [], [])
    _walk(str(folder), found, frozenset())
    return Found(*(sorted(paths) for paths in found))


def _walk(folder: str, found: Found, above: frozenset[str]) -> None:
    real = os.path.realpath(folder)
    # A link to a folder above would go round for ever.
    if real in above:
        return
    with os.scandir(folder) as entries:
        inside = list(entries)
    for entry in inside:
        if is_hidden(entry.name):
            found.hidden.append(entry.path)
        elif entry.is_dir():
            _walk(entry.path, found, above | {real})
        elif is_image(entry.name):
            found.images.append(entry.path)
        else:
            found.unknown.append(entry.path)
