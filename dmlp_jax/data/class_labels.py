"""Converts the user's labels, numbers or names, to class indices and class names."""

import re
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError

_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
_NUMBER = re.compile(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?")

_LARGEST = 2**63 - 1


def encode(
    columns: dict[str, np.ndarray], num_classes: int | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Encodes several columns of labels with one common list of classes.

    Without `num_classes`, the classes are all labels that occur in any column, sorted by value if all are
    whole numbers and by name otherwise.

    Args:
        columns: labels [n] (numbers, strings or Python objects) by column name; error messages use the names.
        num_classes: number of classes. Numeric labels are then class indices 0 to num_classes - 1 and are
            kept as they are.

    Returns:
        Class indices, int32 [n], by column name; and the class names.

    Raises:
        UserError: a label is missing, fractional, negative, beyond int64 or outside the classes; or numbers
            and names are mixed.
    """
    plain = {name: _plain(name, values) for name, values in columns.items()}
    texts = {name: values for name, values in plain.items() if values.dtype.kind == "U"}
    if texts and _all_whole(texts):
        plain |= {name: _parsed(name, values) for name, values in texts.items()}
        texts = {}
    if texts and len(texts) < len(plain):
        numeric = next(name for name in plain if name not in texts)
        name, values = next(iter(texts.items()))
        raise UserError(
            f"{numeric} are numbers but {name} are names (the first is {values[0]!r}); write the classes in "
            "the same way everywhere"
        )
    if not texts:
        for name, values in plain.items():
            _check_not_negative(name, values)
        if num_classes is not None:
            names = tuple(map(str, range(num_classes)))
            return {name: _check_below(name, values, num_classes) for name, values in plain.items()}, names
    classes = np.unique(np.concatenate(list(plain.values())))
    if num_classes not in (None, len(classes)):
        raise UserError(f"there are {len(classes)} class names but num_classes is {num_classes}")
    indices = {name: np.searchsorted(classes, values).astype(np.int32) for name, values in plain.items()}
    return indices, tuple(map(str, classes))


def is_missing(label: Any) -> bool:
    """Whether a label is missing: None, NaN, pandas.NA or an empty string."""
    return label is None or type(label).__name__ in ("NAType", "NaTType") or label == "" or label != label


def _plain(name: str, values: np.ndarray) -> np.ndarray:
    """Converts labels to int64 if they are numbers, else to strings."""
    if values.ndim != 1 or not len(values):
        raise UserError(f"{name} must be one label per row, [n], got shape {values.shape}")
    kind = values.dtype.kind
    if kind in "iu":
        _check_fits(name, values, values > _LARGEST)
        return values.astype(np.int64)
    if kind == "S":
        values, kind = np.char.decode(values, "utf-8"), "U"
    if kind == "f":
        return _whole_numbers(name, values)
    if kind not in "bUOT":
        raise UserError(f"{name} must be whole numbers or names, got {values.dtype}")
    _check_present(name, np.fromiter((is_missing(value) for value in values), bool, len(values)))
    if kind == "O" and all(isinstance(value, (int, float, np.number)) for value in values):
        return _whole_objects(name, values)
    return values.astype(np.str_)


def _whole_numbers(name: str, values: np.ndarray) -> np.ndarray:
    _check_present(name, np.isnan(values))
    bad = ~np.isfinite(values) | (values != np.floor(values))
    if bad.any():
        raise UserError(_fraction(name, int(bad.argmax()), values[bad.argmax()]))
    # `>=`: float(_LARGEST) rounds up to 2^63, which int64 cannot hold.
    _check_fits(name, values, np.abs(values.astype(np.float64)) >= float(_LARGEST))
    return values.astype(np.int64)


def _whole_objects(name: str, values: np.ndarray) -> np.ndarray:
    """Converts Python and NumPy numbers to int64 without a detour through float64, exact only up to 2^53."""
    for row, value in enumerate(values):
        if not isinstance(value, (int, np.integer)) and not float(value).is_integer():
            raise UserError(_fraction(name, row, value))
    return _as_int64(name, values, [int(value) for value in values])


def _parsed(name: str, texts: np.ndarray) -> np.ndarray:
    """Converts strings that `_WHOLE` matches, such as '7' or '7.0', to int64."""
    unique, places = np.unique(texts, return_inverse=True)
    # Cut short because int() refuses thousands of digits; 20 digits already exceed int64.
    whole = [int(text.partition(".")[0][:21]) for text in unique]
    return _as_int64(name, texts, [whole[place] for place in places])


def _as_int64(name: str, written: np.ndarray, values: list[int]) -> np.ndarray:
    """Converts Python integers to int64; error messages show the label as in `written`."""
    _check_fits(name, written, np.array([abs(value) > _LARGEST for value in values]))
    return np.array(values, np.int64)


def _all_whole(texts: dict[str, np.ndarray]) -> bool:
    """Whether all strings are whole numbers; a UserError if all are numbers and some have a fraction."""
    unique = {name: np.unique(values) for name, values in texts.items()}
    everything = [text for values in unique.values() for text in values]
    if all(_WHOLE.fullmatch(text) for text in everything):
        return True
    if all(_WHOLE.fullmatch(text) or _NUMBER.fullmatch(text) for text in everything):
        for name, values in texts.items():
            for row, text in enumerate(values):
                if not _WHOLE.fullmatch(text):
                    raise UserError(_fraction(name, row, text))
    return False


def _fraction(name: str, row: int, value: Any) -> str:
    return (
        f"{name}[{row}] is {value}; a class is a whole number or a name. Regression targets cannot be "
        "purified"
    )


def _check_present(name: str, missing: np.ndarray) -> None:
    if missing.any():
        raise UserError(
            f"{name}[{int(missing.argmax())}] is missing ({int(missing.sum())} such rows); label these rows "
            "or remove them"
        )


def _check_fits(name: str, written: np.ndarray, bad: np.ndarray) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{name}[{row}] is {written[row]} ({int(bad.sum())} such rows), beyond the largest class number "
            f"{_LARGEST}; number the classes from 0, or give them names"
        )


def _check_not_negative(name: str, values: np.ndarray) -> None:
    bad = values < 0
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{name}[{row}] is {values[row]} ({int(bad.sum())} such rows); classes are counted from 0. "
            "Remove rows without a label"
        )


def _check_below(name: str, values: np.ndarray, num_classes: int) -> np.ndarray:
    bad = values >= num_classes
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{name}[{row}] is {values[row]} ({int(bad.sum())} such rows), outside the classes 0 to "
            f"{num_classes - 1}; correct it, or raise num_classes"
        )
    return values.astype(np.int32)
