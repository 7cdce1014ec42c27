"""Decodes image files to RGB arrays, for networks and for the report alike.

Imports Pillow and NumPy only, since worker processes import it.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Pillow picks the decoder by the file's content, and some of its other decoders start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# Pixels to each side that bicubic interpolation looks at.
_SUPPORT = 2


def decode(path: Path | str, size: int) -> np.ndarray:
    """Decodes an image, crops the central square and resizes it: [size, size, 3], uint8.

    The EXIF orientation is applied. Greyscale, palette, CMYK and 16-bit images are converted to RGB, and
    transparent ones are laid on white. Resizing is bicubic, with antialiasing. Images of up to 179 megapixels
    are decoded, twice `PIL.Image.MAX_IMAGE_PIXELS`.

    Args:
        path: the image file.
        size: side length in pixels.

    Raises:
        Exception: of many types, raised by Pillow for damaged files.
    """
    with _opened(path, size) as image:
        # Cropped before it is resized: a strip of 40,000 x 2 pixels would become one of gigabytes.
        side = min(image.size)
        left, top = (_offset(length, side, size) for length in image.size)
        margin = math.ceil(_SUPPORT * max(1.0, side / size)) + 1
        x, y = (max(0, math.floor(offset) - margin) for offset in (left, top))
        right = min(image.width, math.ceil(left + side) + margin)
        bottom = min(image.height, math.ceil(top + side) + margin)
        whole = (x, y, right, bottom) == (0, 0, *image.size)
        part = _rgb(image if whole else image.crop((x, y, right, bottom)))
        left, top = left - x, top - y
        box = (left, top, left + side, top + side)
        resized = part.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
        return np.asarray(resized)


def picture(path: Path | str, side: int) -> np.ndarray:
    """Decodes a whole image at no more than `side` pixels a side, [h, w, 3] uint8, for a page.

    Colours, orientation and transparency are those of `decode`.

    Raises:
        Exception: as `decode`.
    """
    with _opened(path, side) as image:
        whole = _rgb(image)
        whole.thumbnail((side, side), Image.Resampling.BICUBIC)
        return np.asarray(whole)


def whole(path: Path | str) -> Image.Image:
    """Decodes a whole image at its own size, in RGB, with the colours and the orientation of `decode`.

    Raises:
        Exception: as `decode`.
    """
    with _opened(path) as image:
        return _rgb(image).copy()


def inspect(path: Path | str) -> str | None:
    """Checks that an image file can be decoded; returns the reason if not, else None.

    The whole file is read. A JPEG is decoded at an eighth of its size, which takes a third of the time and
    still detects truncated files.
    """
    try:
        with _opened(path, 1) as image:
            if min(image.size) < 1:
                return "it has no pixels"
            _rgb(image)
    except Exception as error:
        # Pillow's plugins raise exceptions of any type for damaged files.
        return f"{type(error).__name__}: {error}"
    return None


def decode_all(paths: list[str], size: int) -> np.ndarray:
    """Decodes several files, [n, size, size, 3].

    Raises:
        ValueError: a file cannot be decoded; the message names it.
    """
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for place, path in enumerate(paths):
        try:
            images[place] = decode(path, size)
        except Exception as error:
            raise ValueError(f"{path}: {error}") from None
    return images


def inspect_all(paths: list[str]) -> list[str | None]:
    """Checks several files, see `inspect`."""
    return [inspect(path) for path in paths]


@contextlib.contextmanager
def _opened(path: Path | str, least: int | None = None) -> Iterator[Image.Image]:
    """An image, turned as it is shown; a JPEG perhaps smaller, but of `least` pixels a side, if given."""
    with warnings.catch_warnings():
        # Of more than half the pixels that are refused, which cameras have.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        stored = Image.open(path, formats=FORMATS)
    with stored:
        if least is not None:
            # Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size if that is still large enough.
            stored.draft("RGB", (least, least))
        stored.load()
        # Pillow's reader of EXIF raises many types; damaged metadata say nothing about the pixels.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(stored, in_place=True)
        yield stored


def _offset(length: int, side: int, size: int) -> float:
    """Where the central square begins; a whole number where its pixels are only copied."""
    return (length - side) // 2 if side == size else (length - side) / 2


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits. Pillow's own conversion clips all values above 255.
        values = np.clip(np.asarray(image).astype(np.int64), 0, 2**16 - 1)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
