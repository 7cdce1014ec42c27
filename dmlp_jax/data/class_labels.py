"""Converts the user's labels, numbers or names, to class indices and class names."""

import re
from decimal import Decimal
from typing import Any

import numpy as np

from dmlp_jax.data.label_notation import flat, is_missing
from dmlp_jax.errors import UserError

__all__ = ["encode", "flat", "is_missing"]

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# '007' is a name.
_LEADING_ZERO = re.compile(r"[-+]?0\d.*")

_LARGEST = 2**63 - 1
# Digits before the point that exceed int64 in any case.
_TOO_LONG = 21


def encode(
    columns: dict[str, np.ndarray], num_classes: int | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Encodes several columns of labels with one common list of classes.

    Without `num_classes`, the classes are all labels that occur in any column, sorted by value if all are
    whole numbers and by name otherwise. Whole numbers may be written in any notation: 1, 1.0, '1e0', '+1'.
    Negative ones are classes where the labels are -1 and 1, or without a gap from -2 or less to some number.

    Args:
        columns: labels [n] (numbers, strings or Python objects) by column name, also in the notations of
            `label_notation.flat`; error messages use the names.
        num_classes: number of classes. Numeric labels are then class indices 0 to num_classes - 1 and are
            kept as they are.

    Returns:
        Class indices, int32 [n], by column name; and the class names.

    Raises:
        UserError: a label is missing, fractional, negative, beyond int64 or outside the classes; a row has
            several labels; or numbers and names are mixed.
    """
    plain = {name: _plain(name, flat(name, values)) for name, values in columns.items()}
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
        if num_classes is not None or not _negative_are_classes(np.concatenate(list(plain.values()))):
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
    if kind == "O" and all(isinstance(value, (bool, np.bool_)) for value in values):
        return values.astype(np.str_)
    if kind == "O" and all(isinstance(value, (int, float, np.number, Decimal)) for value in values):
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


def _as_number(text: str) -> Decimal | None:
    """The number that a text is, exactly; None for a name."""
    text = text.strip()
    if not _NUMBER.fullmatch(text) or _LEADING_ZERO.fullmatch(text):
        return None
    number = Decimal(text)
    # Cut short, because a text may stand for a number of millions of digits.
    if number and number.adjusted() > _TOO_LONG:
        return Decimal(10) ** _TOO_LONG * (1 if number > 0 else -1)
    return number


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _parsed(name: str, texts: np.ndarray) -> np.ndarray:
    """Converts strings that are whole numbers, such as '7', '7.0' or '7e0', to int64."""
    unique, places = np.unique(texts, return_inverse=True)
    whole = [int(_as_number(text) or 0) for text in unique]
    return _as_int64(name, texts, [whole[place] for place in places])


def _as_int64(name: str, written: np.ndarray, values: list[int]) -> np.ndarray:
    """Converts Python integers to int64; error messages show the label as in `written`."""
    _check_fits(name, written, np.array([abs(value) > _LARGEST for value in values]))
    return np.array(values, np.int64)


def _all_whole(texts: dict[str, np.ndarray]) -> bool:
    """Whether all strings are whole numbers; a UserError if all are numbers and some have a fraction."""
    numbers = {text: _as_number(text) for values in texts.values() for text in np.unique(values).tolist()}
    if any(number is None for number in numbers.values()):
        return False
    whole = {text: number is not None and _is_whole(number) for text, number in numbers.items()}
    for name, values in texts.items():
        for row, text in enumerate(values.tolist()):
            if not whole[text]:
                raise UserError(_fraction(name, row, text))
    return True


def _fraction(name: str, row: int, value: Any) -> str:
    return (
        f"{name}[{row}] is {value}; a class is a whole number or a name. Regression targets cannot be "
        "purified"
    )


def _check_present(name: str, missing: np.ndarray) -> None:
    if missing.any():
        raise UserError(
            f"{name}[{int(missing.argmax())}] is missing ({int(missing.sum())} such rows); label these "
            "rows, or purify only those that have a label"
        )


def _check_fits(name: str, written: np.ndarray, bad: np.ndarray) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{name}[{row}] is {written[row]} ({int(bad.sum())} such rows), beyond the largest class number "
            f"{_LARGEST}; number the classes from 0, or give them names"
        )


def _negative_are_classes(values: np.ndarray) -> bool:
    """Whether negative whole numbers are plain classes: of -1 and 1, or of a range from -2 or less.

    -1 beside 0, 1, 2, ... mostly stands for an unknown label.
    """
    found = np.unique(values)
    if found.tolist() == [-1, 1]:
        return True
    return bool(found[0] <= -2 and len(found) == found[-1] - found[0] + 1)


def _check_not_negative(name: str, values: np.ndarray) -> None:
    bad = values < 0
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"{name}[{row}] is {values[row]} ({int(bad.sum())} such rows), but classes are counted from 0. "
            "If it is a class, write the classes as names, such as 'negative' and 'positive'. If it says "
            "that the label is unknown, label these rows, or purify only those that have a label"
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
