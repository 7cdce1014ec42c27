"""Collects what the page holds of each row: its picture, its whole text and other columns, its evidence."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.report import evidence, thumbnails
from dmlp_jax.report.clean_rows import CleanRows
from dmlp_jax.report.names import encodable

# A column whose values have this many characters on average is the text of its rows.
_TEXT = 40
# Texts of rows with pictures may take this share of the bytes, so that some are left for the pictures.
_TEXT_SHARE = 0.5


class RowContents(NamedTuple):
    """What the page holds of the rows that it lists, and after them of the reviewed rows near to these.

    Attributes:
        pictures: see `thumbnails.encode`, an entry per row.
        columns: names of the columns shown.
        text: place among `columns` of the rows' text, or None.
        values: the columns' values of each row, JSON lists of strings; empty where they no longer fit.
        near: places in `clean` of the reviewed rows nearest to each listed row [k, c], or None.
        clean: positions of the reviewed rows that are held.
    """

    pictures: list[str]
    columns: tuple[str, ...]
    text: int | None
    values: list[str]
    near: np.ndarray | None
    clean: np.ndarray

    def held_texts(self, listed: int) -> int:
        """How many of the listed rows have their columns on the page."""
        return sum(map(bool, self.values[:listed]))

    def held_pictures(self, listed: int) -> int:
        """How many of the listed rows have their picture on the page."""
        return sum(map(bool, self.pictures[:listed]))


def collect(
    order: np.ndarray,
    pictured: np.ndarray,
    image_of: Callable[[int], np.ndarray | None] | None,
    columns: Mapping[str, Sequence[Any]],
    features: Any,
    clean: CleanRows | None,
    budget: int,
) -> RowContents:
    """Collects the contents of rows within a number of bytes, those of the most suspicious rows first.

    Args:
        order: positions of the rows listed [k].
        pictured: places in `order` of the rows that get a picture, ascending.
        image_of: the picture of a training row, or None where it has none.
        columns: by name, the values [n] of columns that the page shows.
        features: of the training rows [n, d], for the evidence, or None.
        clean: the reviewed rows, or None.
        budget: bytes of pictures and texts together.
    """
    near, held = None, np.zeros(0, np.int64)
    if clean is not None and features is not None and len(clean.features):
        found = evidence.nearest(features, order, clean.features)
        held, places = np.unique(found, return_inverse=True)
        near = places.reshape(found.shape)
    names = tuple(columns)
    beside = {name: clean.columns.get(name) if clean is not None else None for name in names}
    # The reviewed rows first: there are few of them, and each stands beside many rows.
    for_texts = budget if image_of is None else round(budget * _TEXT_SHARE)
    texts, left = _packed([beside[name] for name in names], held, for_texts)
    values, left = _packed([columns[name] for name in names], order, left)
    left += budget - for_texts
    shots: list[str] = [""] * len(held)
    pictures = [""] * len(order)
    if image_of is not None and len(pictured):
        if clean is not None and clean.image_of is not None:
            shots, rest = thumbnails.encode_all(held, clean.image_of, left // 10)
            left += rest - left // 10
        found_pictures, _ = thumbnails.encode_all(order[pictured], image_of, left)
        for place, picture in zip(pictured, found_pictures, strict=True):
            pictures[place] = picture
    return RowContents(pictures + shots, names, _text_of(columns), values + texts, near, held)


def _packed(columns: list[Sequence[Any] | None], rows: np.ndarray, budget: int) -> tuple[list[str], int]:
    """Values of rows as JSON lists until the bytes are spent, and the bytes that are left."""
    packed: list[str] = []
    for row in rows if columns else []:
        texts = ["" if values is None else encodable(values[row]) for values in columns]
        line = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        budget -= len(line.encode())
        packed.append(line if budget >= 0 else "")
    return packed or [""] * len(rows), max(budget, 0)


def _text_of(columns: Mapping[str, Sequence[Any]]) -> int | None:
    """The place of the column with the longest values, where these are longer than a word or two."""
    lengths = [np.mean([len(str(value)) for value in values[:1000]]) for values in columns.values()]
    if not lengths or max(lengths) < _TEXT:
        return None
    return int(np.argmax(lengths))
