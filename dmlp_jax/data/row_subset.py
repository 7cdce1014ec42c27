"""Some rows of a matrix that stays on disk."""

from typing import Any

import numpy as np


class RowSubset:
    """Some rows of a matrix on disk, read when they are asked for.

    Attributes:
        shape: (n, d).
        dtype: of the matrix.
    """

    def __init__(self, matrix: Any, index: np.ndarray) -> None:
        """Rows `index` [n] of `matrix`, a memory map or what is sliced like one."""
        self.shape = (len(index), matrix.shape[1])
        self.dtype = matrix.dtype
        self._matrix, self._index = matrix, index

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by a number, a slice or an array of numbers."""
        return self._matrix[self._index[rows]]


def take_rows(matrix: Any, index: np.ndarray) -> Any:
    """Rows `index` of a matrix; they stay on disk where the matrix does."""
    return RowSubset(matrix, index) if isinstance(matrix, (np.memmap, RowSubset)) else matrix[index]
