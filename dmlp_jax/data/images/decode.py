"""One image file to pixels; needs Pillow and NumPy only, since worker processes import it."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Pillow chooses by content, not by name, and has decoders that start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


def decode(path: Path | str, size: int) -> np.ndarray:
    """The central square of an image, [size, size, 3], uint8.

    Turned upright as its EXIF data say; greyscale, palette, CMYK and 16-bit images become RGB; transparency
    is dropped. The shorter side is resized to `size`, bicubically and with antialiasing.

    Args:
        path: of the file.
        size: side length in pixels.

    Raises:
        Exception: what Pillow raises for damaged files, of many kinds.
    """
    with Image.open(path, formats=FORMATS) as stored:
        # A JPEG is decoded at a half, a quarter or an eighth of its size where that is still large enough.
        stored.draft("RGB", (size, size))
        image = _rgb(ImageOps.exif_transpose(stored))
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
        left, top = (width - size) // 2, (height - size) // 2
        return np.asarray(image.crop((left, top, left + size, top + size)))


def inspect(path: Path | str) -> str | None:
    """What is wrong with an image file, None where it can be decoded; reads all of it.

    A JPEG is decoded at an eighth of its size, which takes a third of the time and finds files cut short.
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
        # Of damaged files; Pillow's plugins raise whatever goes wrong in them.
        return f"{type(error).__name__}: {error}"
    return None


def decode_all(paths: list[str], size: int) -> np.ndarray:
    """`decode` of several files, [n, size, size, 3].

    Raises:
        ValueError: a file that cannot be decoded, named.
    """
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for place, path in enumerate(paths):
        try:
            images[place] = decode(path, size)
        except Exception as error:
            raise ValueError(f"{path}: {error}") from None
    return images


def inspect_all(paths: list[str]) -> list[str | None]:
    """`inspect` of several files."""
    return [inspect(path) for path in paths]


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion cuts everything above 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
