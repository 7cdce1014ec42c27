"""Decodes images on demand, for data sets larger than memory.

`ImageFiles` acts like a NumPy array [n, size, size, 3] of uint8 whose images are decoded when it is indexed.
`take` and `concatenate` work on both kinds.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from dmlp_jax.data.images import workers
from dmlp_jax.data.images.decode import decode_all


class ImageFiles:
    """An array-like of images [n, size, size, 3], uint8, that are decoded from their files when indexed.

    Args:
        paths: the image files [n], all of which can be decoded.
        size: side length of the central square, see `decode`.
        num_workers: number of decoding processes; 0 for one per core.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, paths: Sequence[str] | np.ndarray, size: int, num_workers: int = 0):
        # A NumPy array of strings takes a tenth of the memory of a list and can be indexed by arrays.
        self.paths = np.asarray(paths, dtype=np.str_)
        self.size, self.num_workers = size, num_workers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, size, size, 3)."""
        return (len(self.paths), self.size, self.size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Decodes the images at an integer index, a slice or an array of indices."""
        if isinstance(index, (int, np.integer)):
            return decode_all([str(self.paths[index])], self.size)[0]
        return self.start(index)()

    def take(self, rows: Any) -> "ImageFiles":
        """Selects rows without decoding them."""
        return ImageFiles(self.paths[rows], self.size, self.num_workers)

    def start(self, rows: Any) -> Callable[[], np.ndarray]:
        """Starts decoding rows [...]; calling the result waits for the images [..., size, size, 3]."""
        paths = self.paths[rows]
        flat = [str(path) for path in paths.reshape(-1)]
        futures = workers.submit(decode_all, flat, self.size, workers=self.num_workers)

        def wait():
            parts = workers.results(futures)
            shape = (*paths.shape, *self.shape[1:])
            return np.concatenate(parts).reshape(shape) if parts else np.zeros(shape, np.uint8)

        return wait

    def checksum(self) -> int:
        """CRC-32 of the shape and of the files' names and sizes in bytes; the contents are not read."""
        total = zlib.crc32(str(self.shape).encode())
        for path in self.paths:
            entry = f"{Path(path).parent.name}/{Path(path).name} {os.path.getsize(path)}\n"
            total = zlib.crc32(os.fsencode(entry), total)
        return total


Images = np.ndarray | ImageFiles


def take(inputs: Images, rows: np.ndarray) -> Images:
    """Selects rows; images in files are not decoded."""
    return inputs.take(rows) if isinstance(inputs, ImageFiles) else inputs[rows]


def concatenate(parts: Sequence[Images]) -> Images:
    """Concatenates along the rows; images in files are not decoded."""
    first = parts[0]
    if isinstance(first, ImageFiles):
        paths = np.concatenate([cast(ImageFiles, part).paths for part in parts])
        return ImageFiles(paths, first.size, first.num_workers)
    return np.concatenate(cast(Sequence[np.ndarray], parts))
