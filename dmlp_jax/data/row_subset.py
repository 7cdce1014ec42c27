"""Selects rows of a matrix on disk and reads them only when they are indexed."""

from typing import Any

import numpy as np


class RowSubset:
    """A view of selected rows of a matrix on disk; rows are read when they are indexed.

    Attributes:
        shape: (n, d).
        dtype: data type of the matrix.
    """

    def __init__(self, matrix: Any, index: np.ndarray) -> None:
        """Selects rows `index` [n] of `matrix`, a memory map or anything that is indexed like one."""
        self.shape = (len(index), matrix.shape[1])
        self.dtype = matrix.dtype
        self._matrix, self._index = matrix, index

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Reads the rows at an integer index, a slice or an array of indices."""
        return self._matrix[self._index[rows]]


def take_rows(matrix: Any, index: np.ndarray) -> Any:
    """Selects rows `index` of a matrix, lazily if it is on disk (a memory map or a `RowSubset`)."""
    return RowSubset(matrix, index) if isinstance(matrix, (np.memmap, RowSubset)) else matrix[index]
