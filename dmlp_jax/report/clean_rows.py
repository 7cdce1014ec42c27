"""Holds what the report shows of clean rows, and loads nothing heavy: commands import it before they run."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class CleanRows(NamedTuple):
    """What is known of the clean rows beside their labels; they are shown as evidence.

    Attributes:
        features: [m, d], as those of the training rows.
        names: name of each row [m], or None.
        image_of: the picture of a clean row, or None where it has none.
        columns: by name, the values [m] of columns that the page shows.
    """

    features: Any
    names: Sequence[Any] | None = None
    image_of: Callable[[int], np.ndarray | None] | None = None
    columns: Mapping[str, Sequence[Any]] = MappingProxyType({})
