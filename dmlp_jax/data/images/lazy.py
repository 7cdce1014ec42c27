"""Images that stay in their files until they are needed, for data sets larger than memory.

`ImageFiles` looks like a NumPy array [n, size, size, 3] of uint8; indexing it decodes. `take`, `concatenate`
and `read` work on both.
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
    """Images [n, size, size, 3], uint8, in files.

    Args:
        paths: of the files, all of which can be decoded.
        size: side length of the square that is cut out, see `decode`.
        num_workers: processes that decode; 0 for one per core.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, paths: Sequence[str] | np.ndarray, size: int, num_workers: int = 0):
        # An array of strings takes a tenth of the memory of a list, and can be indexed by arrays.
        self.paths = np.asarray(paths, dtype=np.str_)
        self.size, self.num_workers = size, num_workers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, size, size, 3)."""
        return (len(self.paths), self.size, self.size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The images of one row, a slice or an array of rows, decoded."""
        if isinstance(index, (int, np.integer)):
            return decode_all([str(self.paths[index])], self.size)[0]
        return self.start(index)()

    def take(self, rows: Any) -> "ImageFiles":
        """The images of these rows, still in their files."""
        return ImageFiles(self.paths[rows], self.size, self.num_workers)

    def start(self, rows: Any) -> Callable[[], np.ndarray]:
        """Starts decoding these rows [...] and returns what waits for them, [..., size, size, 3]."""
        paths = self.paths[rows]
        flat = [str(path) for path in paths.reshape(-1)]
        futures = workers.submit(decode_all, flat, self.size, workers=self.num_workers)

        def wait():
            parts = workers.results(futures)
            shape = (*paths.shape, *self.shape[1:])
            return np.concatenate(parts).reshape(shape) if parts else np.zeros(shape, np.uint8)

        return wait

    def checksum(self) -> int:
        """Of the files' names and sizes in bytes and of the side length; their contents are not read."""
        total = zlib.crc32(str(self.shape).encode())
        for path in self.paths:
            entry = f"{Path(path).parent.name}/{Path(path).name} {os.path.getsize(path)}\n"
            total = zlib.crc32(entry.encode(), total)
        return total


Images = np.ndarray | ImageFiles


def take(inputs: Images, rows: np.ndarray) -> Images:
    """These rows, without decoding anything."""
    return inputs.take(rows) if isinstance(inputs, ImageFiles) else inputs[rows]


def concatenate(parts: Sequence[Images]) -> Images:
    """All rows, one part after the other, without decoding anything."""
    first = parts[0]
    if isinstance(first, ImageFiles):
        paths = np.concatenate([cast(ImageFiles, part).paths for part in parts])
        return ImageFiles(paths, first.size, first.num_workers)
    return np.concatenate(cast(Sequence[np.ndarray], parts))
