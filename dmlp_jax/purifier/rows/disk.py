"""Features on disk, read chunk by chunk from inside a compiled program."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Bytes of one chunk of features in float32; a few copies of it are in memory at a time.
CHUNK_BYTES = 2**26


def is_on_disk(features: Any) -> bool:
    """Whether features are to be read in slices: a NumPy memory map, or what only looks like an array.

    That is an object with shape, a NumPy dtype and slices, such as a data set of h5py or zarr.
    `numpy.asarray` of one loads it instead.
    """
    if isinstance(features, np.memmap):
        return True
    if isinstance(features, (np.ndarray, jax.Array, list, tuple)) or len(getattr(features, "shape", ())) != 2:
        return False
    if hasattr(features, "toarray"):
        # A sparse matrix of SciPy.
        return False
    try:
        np.dtype(features.dtype)
    except (AttributeError, TypeError):
        return False
    return hasattr(features, "__getitem__")


def chunk_rows(shape: tuple[int, int], rows: int) -> int:
    """Rows of a chunk: those wanted, or fewer where `CHUNK_BYTES` does not allow them.

    Args:
        shape: (n, d).
        rows: how many are wanted.
    """
    return max(1, min(rows, shape[0], CHUNK_BYTES // (4 * shape[1])))


class Reader:
    """Reads chunks of rows, the next one ahead of its time.

    Attributes:
        shape: (n, d).
        rows: rows of a chunk, b.
        dtype: of what the compiled program is handed.
    """

    def __init__(self, shape: tuple[int, int], rows: int, dtype: Any, features: Any = None) -> None:
        """A reader of array-likes on disk.

        Args:
            shape: (n, d).
            rows: rows of a chunk; see `chunk_rows`.
            dtype: of the features.
            features: what is read, [n, d]; gives rows by slices. None until `reading` tells.
        """
        self.shape, self.rows = shape, rows
        # The program turns halves into singles far faster than NumPy does; other types are NumPy's to turn.
        self.dtype = np.dtype(np.float16 if np.dtype(dtype) == np.float16 else np.float32)
        self._features = features
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="purify-reader")
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._ahead: tuple[int, Future[np.ndarray]] | None = None

    @contextlib.contextmanager
    def reading(self, features: Any) -> Iterator[None]:
        """Reads these features [n, d] while the block runs; other threads wait for their turn.

        So one compiled program serves all files of a shape. At the end the file may be closed.
        """
        with self._turn:
            self._exchange(features)
            try:
                yield
            finally:
                self._exchange(None)

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.shape[0] // self.rows)

    def fetch(self, index: jax.Array) -> jax.Array:
        """Chunk [b, d] in float32, inside a traced program; rows past the end are 0."""
        shape = jax.ShapeDtypeStruct((self.rows, self.shape[1]), self.dtype)
        return jax.pure_callback(self._next, shape, index).astype(jnp.float32)

    def read(self, index: int) -> np.ndarray:
        """Chunk [b, d] in `dtype`; rows past the end are 0."""
        rows = np.asarray(self._features[index * self.rows : (index + 1) * self.rows])
        padded = np.empty((self.rows, self.shape[1]), self.dtype)
        padded[: len(rows)] = rows
        padded[len(rows) :] = 0
        return padded

    def _exchange(self, features: Any) -> None:
        """Reads these features from now on, and nothing of the ones before, also for a call cut short."""
        with self._lock:
            if self._ahead is not None:
                # Nobody waits for these rows: if they cannot be read, that is no error.
                self._ahead[1].exception()
                self._ahead = None
            self._features = features

    def _wait(self) -> tuple[int, np.ndarray] | tuple[None, None]:
        """Number and rows of the chunk that was read ahead; two are never read at once."""
        if self._ahead is None:
            return None, None
        index, future = self._ahead
        self._ahead = None
        return index, future.result()

    def _next(self, index: Any) -> np.ndarray:
        with self._lock:
            wanted, ahead = self._wait()
            rows = ahead if ahead is not None and wanted == int(index) else self.read(int(index))
            following = (int(index) + 1) % self.chunks
            self._ahead = following, self._pool.submit(self.read, following)
        return rows
