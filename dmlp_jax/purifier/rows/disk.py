"""Reads features on disk, chunk by chunk, from inside a compiled program."""

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
    """Whether features are to be read in slices: a NumPy memory map, or another array-like on disk.

    Such an array-like has a shape, a NumPy dtype and slices, like a data set of h5py or zarr. Users who want
    it in memory pass `numpy.asarray` of it.
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


class WithMoreRows:
    """Features on disk with some more rows after them, without loading them.

    Attributes:
        shape: (n + k, d).
        dtype: the type to which both can be converted.
    """

    def __init__(self, features: Any, more: np.ndarray) -> None:
        """Adds rows.

        Args:
            features: array-like [n, d] that is read by slices.
            more: [k, d].
        """
        self._features, self._more = features, more
        self.shape = (features.shape[0] + more.shape[0], features.shape[1])
        self.dtype = np.result_type(features.dtype, more.dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows of a slice of step 1, [b, d]."""
        start, stop, _ = rows.indices(self.shape[0])
        count = self._features.shape[0]
        if stop <= count:
            return np.asarray(self._features[start:stop])
        more = self._more[max(start - count, 0) : stop - count]
        return more if start >= count else np.concatenate([np.asarray(self._features[start:count]), more])


def limited_chunk_rows(shape: tuple[int, int], rows: int) -> int:
    """Rows of a chunk: `rows`, or fewer where `CHUNK_BYTES` does not allow as many.

    Args:
        shape: (n, d).
        rows: number of rows wanted.
    """
    return max(1, min(rows, shape[0], CHUNK_BYTES // (4 * shape[1])))


class Reader:
    """Reads chunks of rows, and the next chunk in advance.

    Attributes:
        shape: (n, d).
        rows: rows of a chunk, b.
        dtype: type of the chunks that the compiled program gets, float16 or float32.
    """

    def __init__(self, shape: tuple[int, int], rows: int, dtype: Any, features: Any = None) -> None:
        """Creates a reader of array-likes on disk.

        Args:
            shape: (n, d).
            rows: rows of a chunk; see `chunk_rows`.
            dtype: type of the features.
            features: array-like [n, d] that is read by slices; None if `reading` will set it.
        """
        self.shape, self.rows = shape, rows
        # The program converts float16 to float32 far faster than NumPy; NumPy converts the other types.
        self.dtype = np.dtype(np.float16 if np.dtype(dtype) == np.float16 else np.float32)
        self._features = features
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="purify-reader")
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._ahead: tuple[int, Future[np.ndarray]] | None = None

    @contextlib.contextmanager
    def reading(self, features: Any) -> Iterator[None]:
        """Reads these features [n, d] while the block runs; other threads wait for their turn.

        So one compiled program serves all files of a shape. After the block the file may be closed.
        """
        with self._turn:
            self._exchange(features)
            try:
                yield
            finally:
                self._exchange(None)

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.shape[0] // self.rows)

    def fetch(self, index: jax.Array) -> jax.Array:
        """Chunk [b, d] in float32, inside a traced program; rows past the end are 0."""
        shape = jax.ShapeDtypeStruct((self.rows, self.shape[1]), self.dtype)
        return jax.pure_callback(self._next, shape, index).astype(jnp.float32)

    def read(self, index: int) -> np.ndarray:
        """Chunk [b, d] in `dtype`; rows past the end are 0."""
        start, end = (min(i * self.rows, self._features.shape[0]) for i in (index, index + 1))
        rows = np.asarray(self._features[start:end])
        padded = np.empty((self.rows, self.shape[1]), self.dtype)
        padded[: len(rows)] = rows
        padded[len(rows) :] = 0
        return padded

    def _exchange(self, features: Any) -> None:
        """Switches to these features and drops chunks read before, even if a call was interrupted."""
        with self._lock:
            if self._ahead is not None:
                # Nobody needs these rows any more, so a failure to read them is no error.
                self._ahead[1].exception()
                self._ahead = None
            self._features = features

    def _wait(self) -> tuple[int, np.ndarray] | tuple[None, None]:
        """Waits for the chunk read in advance, so that two are never read at once; its number and rows."""
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
