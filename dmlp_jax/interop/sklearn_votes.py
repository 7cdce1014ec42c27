"""Encodes labels of several annotators for the scikit-learn estimator."""

from typing import Any

import numpy as np

from dmlp_jax.data.class_labels import is_missing
from dmlp_jax.interop.sklearn_labels import encode
from dmlp_jax.purifier import InputError


def are_votes(y: Any) -> bool:
    """Whether labels are those of several annotators, [n, a] with a >= 2; tuples are labels themselves."""
    if hasattr(y, "shape"):
        return len(y.shape) == 2 and y.shape[1] > 1
    rows = list(y)
    if not rows or not all(isinstance(row, (list, np.ndarray)) for row in rows):
        return False
    return len({len(row) for row in rows}) == 1 and len(rows[0]) > 1


def encode_votes(
    name: str, y: Any, clean: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The classes, votes as class indices [n, a] with -1 for none, and clean labels as class indices [m].

    Args:
        name: of the argument, for messages.
        y: labels [n, a]; None, NaN or '' where an annotator gave none, or -1.
        clean: true labels of the clean rows [m], or None.

    Raises:
        InputError: there is no label at all.
    """
    table = np.asarray(y, object)
    known = _known(table)
    if not known.any():
        raise InputError(f"{name} holds no label: every entry is missing")
    given = _plain(table[known])
    columns = [given] if clean is None else [given, clean]
    classes, codes = encode(*columns)
    votes = np.full(table.shape, -1, np.int32)
    votes[known] = codes[0]
    return classes, votes, None if clean is None else codes[1].astype(np.int32)


def encode_known_votes(name: str, y: Any, classes: np.ndarray, rows: int) -> np.ndarray:
    """Votes on the clean rows as indices of known classes, [m, a], -1 where an annotator gave none.

    Raises:
        InputError: the number of rows differs, or a label is none of the classes.
    """
    table = np.asarray(y, object)
    if table.ndim != 2 or len(table) != rows:
        raise InputError(
            f"{name} has shape {table.shape}, but y holds labels of several annotators; give the labels of "
            f"the same annotators for each of the {rows} clean rows, [m, a]"
        )
    known = _known(table)
    codes = {value: code for code, value in enumerate(classes)}
    votes = np.full(table.shape, -1, np.int32)
    for row, column in np.argwhere(known):
        value = table[row, column]
        if value not in codes:
            raise InputError(
                f"{name}[{row}, {column}] is {value!r}, which is no label of y or y_val; correct it, or "
                "write None where the annotator gave none"
            )
        votes[row, column] = codes[value]
    return votes


def _known(table: np.ndarray) -> np.ndarray:
    """Whether an annotator gave a label, [n, a]; -1 stands for none among numbers."""
    return np.array(
        [[not (is_missing(value) or _is_minus_one(value)) for value in row] for row in table], bool
    ).reshape(table.shape)


def _is_minus_one(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and value == -1


def _plain(values: np.ndarray) -> np.ndarray:
    """Objects as numbers, or as strings, where all of them are such; whole floats become integers."""
    if all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values):
        numbers = values.astype(np.float64)
        return numbers.astype(np.int64) if (numbers == np.floor(numbers)).all() else numbers
    return values.astype(np.str_) if all(isinstance(value, str) for value in values) else values
