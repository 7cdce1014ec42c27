"""Says of a data set of image files which files are used, and which are not and why."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from dmlp_jax.data.images.found import SUFFIXES

# Most sub-folders that are named.
_NAMED = 5


class Account(NamedTuple):
    """The files of a data set that are not simply images in class folders.

    Attributes:
        root: the data set's folder; paths below are strings.
        followed: number of images in each sub-folder of a class.
        unknown: files of another kind than images.
        loose: images beside the class folders.
        hidden: files and folders that systems and tools hide.
        beside: folders beside train, val and test.
        names: sentences about class names that are nearly equal.
    """

    root: Path
    followed: dict[str, int]
    unknown: list[str]
    loose: list[str]
    hidden: list[str]
    beside: list[str]
    names: list[str]

    def lines(self) -> list[str]:
        """What a user should know, a line for each subject; empty where all files are used."""
        lines = [f"warning: {text}" for text in self.names]
        if self.followed:
            shown = [
                f"{self._short(path)} ({count:,})" for path, count in list(self.followed.items())[:_NAMED]
            ]
            more = ", ..." if len(self.followed) > _NAMED else ""
            lines.append(
                f"{sum(self.followed.values()):,} images are in sub-folders of their class and are used: "
                f"{', '.join(shown)}{more}"
            )
        if self.unknown:
            kinds = Counter(os.path.splitext(path)[1].lower() or "no suffix" for path in self.unknown)
            counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_NAMED))
            lines.append(
                f"left out {len(self.unknown):,} files that are no images of a kind that is read "
                f"({', '.join(SUFFIXES)}): {counted}, such as {self._short(self.unknown[0])}; convert "
                "those that are images"
            )
        if self.loose:
            lines.append(
                f"left out {len(self.loose):,} images that lie beside the class folders, such as "
                f"{self._short(self.loose[0])}; move each into the folder of its class"
            )
        if self.beside:
            shown = [self._short(path) for path in self.beside[:_NAMED]]
            lines.append(f"not used: the folders {', '.join(shown)} beside train, val and test")
        if self.hidden:
            lines.append(f"passed over {len(self.hidden):,} hidden files and folders")
        return lines

    def left_out(self) -> dict[str, str]:
        """The files that are not used, with the reason."""
        reasons = {
            "no image of a kind that is read": self.unknown,
            "beside the class folders": self.loose,
            "hidden": self.hidden,
            "beside train, val and test": self.beside,
        }
        return {path: reason for reason, paths in reasons.items() for path in paths}

    def _short(self, path: str) -> str:
        return os.path.relpath(path, self.root)
