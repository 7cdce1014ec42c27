"""Encodes pictures of rows as data URIs of bounded size."""

import base64
import io

import numpy as np
from PIL import Image

# Longest side of a picture on the page, pixels.
SIDE = 160
# Up to this side a picture is stored losslessly as PNG; larger ones are JPEG.
_EXACT = 64
_QUALITY = 80
# Most bytes of all pictures of a page together.
BUDGET = 12_000_000


class Budget:
    """Counts bytes that may still be used.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = BUDGET):
        self._left = limit

    def take(self, size: int) -> bool:
        """Takes `size` bytes and returns whether they were available; after a refusal none are."""
        if size > self._left:
            self._left = 0
            return False
        self._left -= size
        return True


def data_uri(pixels: np.ndarray | None) -> str | None:
    """An image of at most `SIDE` pixels a side as a data URI; None if the input is not an image.

    Args:
        pixels: [h, w, 1, 3 or 4], uint8; features [d] are no image.
    """
    if pixels is None or np.ndim(pixels) != 3:
        return None
    pixels = np.asarray(pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    exact = max(image.size) <= _EXACT
    buffer = io.BytesIO()
    if exact:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.convert("L" if image.mode == "L" else "RGB").save(buffer, "JPEG", quality=_QUALITY)
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
