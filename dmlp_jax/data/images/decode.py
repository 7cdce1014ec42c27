"""Decodes image files to RGB arrays; imports Pillow and NumPy only, since worker processes import it."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Pillow picks the decoder by the file's content, and some of its other decoders start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


def decode(path: Path | str, size: int) -> np.ndarray:
    """Decodes an image, resizes it and crops the central square: [size, size, 3], uint8.

    The EXIF orientation is applied. Greyscale, palette, CMYK and 16-bit images are converted to RGB, and
    transparency is dropped. The shorter side is resized to `size`, bicubically and with antialiasing.

    Args:
        path: the image file.
        size: side length in pixels.

    Raises:
        Exception: of many types, raised by Pillow for damaged files.
    """
    with Image.open(path, formats=FORMATS) as stored:
        # Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size if that is still large enough.
        stored.draft("RGB", (size, size))
        image = _rgb(ImageOps.exif_transpose(stored))
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
        left, top = (width - size) // 2, (height - size) // 2
        return np.asarray(image.crop((left, top, left + size, top + size)))


def whole(path: Path | str) -> Image.Image:
    """Decodes an image whole, as `decode` does before it resizes: turned as EXIF says, in RGB.

    Raises:
        Exception: of many types, raised by Pillow for damaged files.
    """
    with Image.open(path, formats=FORMATS) as stored:
        return _rgb(ImageOps.exif_transpose(stored))


def inspect(path: Path | str) -> str | None:
    """Checks that an image file can be decoded; returns the reason if not, else None.

    The whole file is read. A JPEG is decoded at an eighth of its size, which takes a third of the time and
    still detects truncated files.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                image.draft("RGB", (1, 1))
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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips all values above 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
