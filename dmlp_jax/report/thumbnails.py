"""Encodes pictures of rows as short texts that together stay within a number of bytes."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# Pictures of at most so many pixels a side are stored without loss: at every level, where that costs no more;
# at the first level.
_TINY, _EXACT = 16, 64
# Pictures that the first level whose size fits is chosen by.
_SAMPLE = 24
# The most suspicious rows get this share of the bytes: these are the ones that people look at first.
HEAD, _HEAD_SHARE = 300, 0.3
_BATCH = 256


class Level(NamedTuple):
    """How pictures are encoded.

    Attributes:
        side: longest side, pixels; smaller pictures stay as they are.
        quality: of WebP, 0 to 100.
        exact: whether pictures of at most `_EXACT` pixels a side are PNG, without loss. Others are where a
            side has at most `_TINY`.
    """

    side: int
    quality: int
    exact: bool = False


# From the best to the smallest.
LEVELS = (
    Level(320, 80, exact=True),
    Level(320, 70),
    Level(224, 70),
    Level(160, 65),
    Level(96, 60),
    Level(64, 50),
    Level(32, 40),
    Level(24, 20),
)
# Longest side of any picture, pixels.
SIDE = LEVELS[0].side
# By the first character of an encoded picture.
KINDS = {"p": "image/png", "w": "image/webp"}


def encode(pixels: np.ndarray | None, level: Level = LEVELS[0]) -> str:
    """A picture as text: a key of `KINDS`, then base64; empty if the input is not a picture.

    Args:
        pixels: [h, w, 1, 3 or 4], uint8; features [d] are no picture.
        level: how it is encoded.
    """
    if pixels is None or np.ndim(pixels) != 3:
        return ""
    pixels = np.asarray(pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((level.side, level.side))
    buffer = io.BytesIO()
    exact = max(image.size) <= (_EXACT if level.exact else _TINY)
    if exact:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "WEBP", quality=level.quality, method=2)
    return ("p" if exact else "w") + base64.b64encode(buffer.getvalue()).decode()


def data_uri(encoded: str) -> str | None:
    """An encoded picture as a data URI; None where there is none."""
    return f"data:{KINDS[encoded[0]]};base64,{encoded[1:]}" if encoded else None


def encode_all(
    rows: np.ndarray, image_of: Callable[[int], np.ndarray | None], budget: int
) -> tuple[list[str], int]:
    """The pictures of rows, in their order, as good as fits; those that no longer fit are empty.

    The first `HEAD` rows may take `_HEAD_SHARE` of the bytes and have the best level, so that they are better
    where rows are many.

    Args:
        rows: training rows [k], the most suspicious first.
        image_of: the picture of a training row, or None where it has none; called by several threads.
        budget: bytes.

    Returns:
        The pictures, see `encode`, and the bytes that are left.
    """
    encoded: list[str] = []
    left = budget
    with ThreadPoolExecutor() as threads:
        for part, share, levels in ((rows[:HEAD], _HEAD_SHARE, LEVELS), (rows[HEAD:], 1.0, LEVELS[1:])):
            allowed = left if len(rows) <= HEAD else round(left * share)
            level = _fitting(part, image_of, allowed, levels)
            # In batches: pictures of all rows at once might not fit into memory.
            for start in range(0, len(part), _BATCH):
                batch = part[start : start + _BATCH]
                for picture in threads.map(partial(_encode_row, image_of, level), batch):
                    left -= len(picture)
                    encoded.append(picture if left >= 0 else "")
    return encoded, max(left, 0)


def _encode_row(image_of: Callable[[int], Any], level: Level, row: int) -> str:
    return encode(image_of(int(row)), level)


def _fitting(rows: np.ndarray, image_of: Callable[[int], Any], budget: int, levels: Sequence[Level]) -> Level:
    """The best level at which all rows are expected to fit; the smallest where none does."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int))
    sample = [pixels for place in places if (pixels := image_of(int(rows[place]))) is not None]
    for level in levels:
        if len(rows) * _mean(len(encode(pixels, level)) for pixels in sample) <= 0.9 * budget:
            return level
    return levels[-1]


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else 0.0
