"""Encodes labels of any hashable type as class indices, for the scikit-learn estimator."""

from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

from dmlp_jax.data.class_labels import is_missing
from dmlp_jax.purifier import InputError


def label_array(name: str, y: Any) -> np.ndarray:
    """Labels as an array [n], of Python objects if they are neither numbers nor strings.

    Raises:
        InputError: there is not one label per row, a label is missing or is a fraction; the message calls
            the labels `name`.
    """
    if hasattr(y, "__array__"):
        array = np.asarray(y)
    elif all(isinstance(value, (str, bool, int, float, np.generic)) for value in y):
        array = np.asarray(y)
        if array.dtype.kind in "US" and not all(isinstance(value, (str, bytes)) for value in y):
            # NumPy would convert the numbers among them to strings.
            array = _objects(y)
    else:
        array = _objects(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = column_or_1d(array, warn=True)
    if array.ndim != 1:
        raise InputError(f"{name} must be one label per row, [n], got shape {array.shape}")
    missing = np.array([is_missing(value) for value in array], bool)
    if missing.any():
        raise InputError(
            f"{name}[{int(missing.argmax())}] is missing ({int(missing.sum())} such rows; NaN, None and '' "
            "are no labels); label these rows or remove them"
        )
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        row = int(np.argmax(array != np.floor(array)))
        raise InputError(
            f"Unknown label type: {name}[{row}] is {array[row]}; classes cannot be fractions, and regression "
            "targets cannot be purified"
        )
    return array


def _objects(values: Any) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array


def encode(*columns: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The sorted classes [c], and each column as class indices."""
    if all(column.dtype.kind != "O" for column in columns):
        classes = np.unique(np.concatenate(columns))
        return classes, [np.searchsorted(classes, column) for column in columns]
    found: set[Any] = {value for column in columns for value in column}
    try:
        ordered = sorted(found)
    except TypeError:
        # Labels of several types cannot be compared with each other.
        ordered = sorted(found, key=lambda value: (type(value).__name__, repr(value)))
    codes = {value: code for code, value in enumerate(ordered)}
    return _objects(ordered), [np.array([codes[value] for value in column]) for column in columns]
