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
    array = _as_array(name, y)
    missing = np.array([is_missing(value) for value in array], bool)
    if missing.any():
        raise InputError(
            f"{name}[{int(missing.argmax())}] is missing ({int(missing.sum())} such rows; NaN, None and '' "
            "are no labels); label these rows, or fit only those that have a label"
        )
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        row = int(np.argmax(array != np.floor(array)))
        raise InputError(
            f"Unknown label type: {name}[{row}] is {array[row]}; classes cannot be fractions, and regression "
            "targets cannot be purified"
        )
    return array


def _as_array(name: str, y: Any) -> np.ndarray:
    """Labels, some perhaps missing, as an array [n]: of Python objects unless they are numbers or strings."""
    if hasattr(y, "__array__"):
        array = np.asarray(y)
    elif all(isinstance(value, (str, bool, int, float, np.generic)) for value in y):
        array = np.asarray(y)
        if array.dtype.kind in "US" and not all(isinstance(value, (str, bytes)) for value in y):
            # NumPy would convert the numbers among them to strings.
            array = _objects(y)
    else:
        array = _objects(y)
    if array.ndim == 1 and array.dtype.kind == "O":
        array = _unwrapped(name, array)
    if array.ndim == 2 and array.shape[1] == 1:
        array = column_or_1d(array, warn=True)
    if array.ndim != 1:
        one_hot = "; of one-hot rows take argmax(axis=1)" if array.ndim == 2 else ""
        raise InputError(f"{name} must be one label per row, [n], got shape {array.shape}{one_hot}")
    return array


def _unwrapped(name: str, array: np.ndarray) -> np.ndarray:
    """Labels [n] with lists of one opened: lists cannot be classes, since they are not hashable."""
    lists = [isinstance(value, (list, np.ndarray)) for value in array]
    for row in np.flatnonzero(lists):
        if len(array[row]) != 1:
            raise InputError(
                f"{name}[{row}] holds {len(array[row])} labels; a row has one label here, so choose one, "
                "or ask of each class by itself whether it is true"
            )
    if not any(lists):
        return array
    return _as_array(
        name, [value[0] if inside else value for value, inside in zip(array, lists, strict=True)]
    )


def _objects(values: Any) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array


def encode_given(name: str, y: Any, classes: np.ndarray, rows: int) -> np.ndarray:
    """The given labels of the clean rows as class indices [m], -1 where one is unknown.

    Args:
        name: of the argument, for the message.
        y: labels; None, NaN or '' where one is unknown, or -1 if that is no class.
        classes: the sorted classes [c].
        rows: number of clean rows, m.

    Raises:
        InputError: there is not one label per row, or a label is none of the classes.
    """
    labels = _as_array(name, y)
    if len(labels) != rows:
        raise InputError(
            f"{name} has {len(labels)} labels but there are {rows} clean rows; give one for each, None where "
            "it is unknown"
        )
    codes = {value: code for code, value in enumerate(classes)}
    indices = np.array([codes.get(value, -1) for value in labels])
    for row in np.flatnonzero(indices < 0):
        if not is_missing(labels[row]) and labels[row] != -1:
            raise InputError(
                f"{name}[{row}] is {labels[row]!r}, which is no label of y or y_val; correct it, or write "
                "None where the given label is unknown"
            )
    return indices


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


def check_classes(classes: np.ndarray) -> None:
    """Raises an InputError if there are fewer than two classes [c]."""
    if len(classes) < 2:
        raise InputError(f"y has one class only, {classes[0]!r}; purification needs at least two classes")


def check_every_class(classes: np.ndarray, val_codes: np.ndarray) -> None:
    """Raises an InputError if one of the classes [c] has no row among clean class indices [m]."""
    absent = np.setdiff1d(np.arange(len(classes)), val_codes)
    if absent.size:
        raise InputError(
            f"y_val has no row of class {classes[absent[0]]!r} ({absent.size} of {len(classes)} classes are "
            "absent); add at least one clean row of each"
        )
