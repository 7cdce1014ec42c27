"""Takes labels as people and tools write them to one value per row: one-hot rows, lists of one, bytes."""

import ast
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError

# Most characters of a cell in a message.
_SHOWN = 60


def is_missing(label: Any) -> bool:
    """Whether a label is missing: None, NaN, pandas.NA or an empty string."""
    return label is None or type(label).__name__ in ("NAType", "NaTType") or label == "" or label != label


def flat(name: str, values: Any) -> np.ndarray:
    """Labels as one value per row, [n]; what a value means is not decided here.

    A matrix [n, 1] is a list of values. One-hot rows [n, c], of numbers or truth values, become the numbers
    of the columns. Lists of one, also as text such as "['cat']", become what they hold.

    Args:
        name: what the labels are called in messages.
        values: labels of any type.

    Raises:
        UserError: a row has several labels or a record, or the labels have another shape.
    """
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        return _from_one_hot(name, values)
    if values.ndim != 1 or not len(values):
        raise UserError(f"{name} must be one label per row, [n], got shape {values.shape}")
    if values.dtype.kind in "OTU" and _are_lists_as_text(values):
        values = _objects(ast.literal_eval(text) for text in values)
    if values.dtype.kind == "O":
        return _from_cells(name, values)
    return values


def _from_one_hot(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf" or not values.size:
        raise UserError(f"{name} must be one label per row, [n], got shape {values.shape} of {values.dtype}")
    ones = values == 1
    if not (ones | (values == 0)).all():
        sums = np.abs(values.sum(axis=1, dtype=np.float64) - 1) < 1e-3
        what = (
            "rows of probabilities; take the most probable class of each, such as with argmax(axis=1), or "
            "give the distributions to dmlp_jax.purify in Python"
            if values.dtype.kind == "f" and sums.all() and (values >= 0).all()
            else "no one-hot rows; give one label per row, [n]"
        )
        raise UserError(f"{name} has shape {values.shape} and holds {what}")
    count = ones.sum(axis=1)
    if (count != 1).any():
        row = int(np.argmax(count != 1))
        raise UserError(_several(name, row, int(count[row]), int((count != 1).sum())))
    return ones.argmax(axis=1)


def _from_cells(name: str, values: np.ndarray) -> np.ndarray:
    """Python objects [n] with lists of one opened."""
    lists = np.array([isinstance(value, (list, tuple, set, np.ndarray)) for value in values])
    for row in np.flatnonzero(~lists):
        if isinstance(values[row], dict):
            raise UserError(f"{name}[{row}] is the record {_cut(values[row])}; give the label itself")
    if not lists.any():
        return _objects(_decoded(value) for value in values)
    cells = [list(value) if inside else [value] for value, inside in zip(values, lists, strict=True)]
    widths = {len(cell) for cell in cells}
    if len(widths) == 1 and max(widths) > 1 and lists.all():
        matrix = np.array(cells)
        if matrix.ndim == 2 and matrix.dtype.kind in "biuf":
            return _from_one_hot(name, matrix)
    many = [row for row, cell in enumerate(cells) if len(cell) > 1]
    if many:
        raise UserError(_several(name, many[0], len(cells[many[0]]), len(many)))
    return flat(name, _objects(_decoded(cell[0]) if cell else None for cell in cells))


def _several(name: str, row: int, count: int, rows: int) -> str:
    what = f"{count} labels" if count else "no label"
    return (
        f"{name}[{row}] has {what} ({rows} such rows), but a row must have exactly one: several labels that "
        "are true at once cannot be purified together. Choose one for each row, or purify each label as a "
        "question of its own, yes or no"
    )


def _are_lists_as_text(values: np.ndarray) -> bool:
    """Whether all texts are lists as Python and JSON print them; '[UNK]' is a name."""
    for text in values:
        if not (isinstance(text, str) and text.startswith("[") and text.endswith("]")):
            return False
    try:
        return all(isinstance(ast.literal_eval(text), list) for text in np.unique(values.astype(np.str_)))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _decoded(value: Any) -> Any:
    """Bytes as text, as h5py and TensorFlow hand out strings."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _objects(values: Any) -> np.ndarray:
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
