"""Converts columns of a table to numbers: numbers, truth values, numbers as text, lists and lists as text."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.cli.inputs.table_frames import MISSING
from dmlp_jax.errors import UserError

# Texts that stand for a missing number beside those of `MISSING`.
_MARKS = (*MISSING, "?", "-", "--", ".", "#DIV/0!", "#VALUE!", "#NUM!", "#REF!")
_LIST = re.compile(r"\s*(?:array|tensor)?\(?\s*\[.*\].*", re.DOTALL)
_LEADING_ZERO = re.compile(r"[-+]?0\d+")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")
_TRUTH = {"true": 1.0, "false": 0.0}
# Most characters of a cell in a message.
_SHOWN = 40


def kind(column: Any) -> str:
    """What a column holds: 'numbers', 'lists', 'empty', or in words why it cannot be a feature.

    Numbers may be missing in part: `numbers` says where.
    """
    from pandas.api import types

    if types.is_numeric_dtype(column) and column.dtype.kind in "biuf":
        return "numbers" if column.notna().any() else "empty"
    present = column[~missing(column)]
    if not len(present):
        return "empty"
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        return "dates"
    values = present.tolist()
    if all(isinstance(value, (list, tuple, np.ndarray)) for value in values):
        return "lists"
    if isinstance(values[0], dict):
        return "records"
    if all(isinstance(value, str) for value in values):
        return _kind_of_texts(values)
    if all(_is_number(value) for value in values):
        return "numbers"
    return "text"


def numbers(path: Path, column: Any) -> np.ndarray:
    """A column as float32, [n, 1], or [n, k] if it holds lists of k numbers, perhaps as text.

    Raises:
        UserError: a cell is no finite number, or no list of as many numbers as the others.
    """
    if kind(column) == "lists":
        return _lists(path, column)
    import pandas

    cells = column.astype(object).map(_plain)
    texts = cells.map(lambda cell: isinstance(cell, str) and cell not in _MARKS).to_numpy(bool)
    values = pandas.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if texts.any():
        values = np.array(values)
        values[texts] = _as_numbers(cells[texts].tolist())
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"column {column.name!r} of {path} holds {shown(column.iloc[row])} in row {row} "
            f"({int(bad.sum())} rows without a finite number); fill these cells, for example with the "
            "column's median, leave these rows out, or choose other --feature-columns"
        )
    return values[:, None]


def shown(value: Any) -> str:
    """A cell in a message, cut short where it is long."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(str(value)):,} characters)"


def missing(column: Any) -> np.ndarray:
    """Whether each cell is empty or a mark for a missing number, bool [n]."""
    marked = np.array(column.isna(), bool)
    if column.dtype.kind == "O" or not isinstance(column.dtype, np.dtype):
        marked |= np.array([isinstance(v, str) and v.strip() in _MARKS for v in column.tolist()], bool)
    return marked


def _kind_of_texts(texts: list[str]) -> str:
    # One cell that is none is a mistake, which `numbers` names.
    if sum(_LIST.fullmatch(text) is not None for text in texts) > len(texts) / 2:
        return "lists"
    stripped = [text.strip() for text in texts]
    if all(text.lower() in _TRUTH for text in stripped):
        return "numbers"
    if any(_LEADING_ZERO.fullmatch(text) for text in stripped):
        return "text"
    found = _as_numbers(stripped)
    if np.isfinite(found).all():
        return "numbers"
    odd = int(np.argmin(np.isfinite(found)))
    # Nearly a column of numbers: say what keeps it from being one.
    return f"text such as {shown(texts[odd])}" if np.isfinite(found).mean() > 0.5 else "text"


def _as_numbers(texts: list[str]) -> np.ndarray:
    """Texts as float64, NaN where one is no number; commas and per cent signs as all of them have them."""
    import pandas

    if all(text.endswith("%") for text in texts):
        texts = [text[:-1] for text in texts]
    with_commas = [text for text in texts if "," in text]
    if with_commas and all(_THOUSANDS.fullmatch(text) for text in with_commas):
        # '1,234' alone may be a decimal comma; then it is no number that is surely read right.
        if any("." in text or text.count(",") > 1 for text in with_commas):
            texts = [text.replace(",", "") for text in texts]
    elif with_commas and all(_DECIMAL_COMMA.fullmatch(text) for text in with_commas):
        texts = [text.replace(",", ".") for text in texts]
    return pandas.to_numeric(pandas.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)


def _plain(cell: Any) -> Any:
    """A cell without blanks around it; truth values, as text too, are 1 and 0."""
    if isinstance(cell, str):
        cell = cell.strip()
        return _TRUTH.get(cell.lower(), cell)
    return float(cell) if _is_number(cell) else cell


def _is_number(value: Any) -> bool:
    from decimal import Decimal

    return isinstance(value, (bool, int, float, np.number, np.bool_, Decimal))


def _lists(path: Path, column: Any) -> np.ndarray:
    absent = missing(column)
    cells = column.tolist()
    rows: list[Any] = []
    width, first = 0, int(np.argmin(absent))
    for row, cell in enumerate(cells):
        where = f"column {column.name!r} of {path}: row {row}"
        if absent[row]:
            raise UserError(
                f"{where} is empty ({int(absent.sum())} such rows), the others hold lists of numbers; make "
                "these lists, or leave these rows out"
            )
        values = _parsed(where, cell) if isinstance(cell, str) else cell
        try:
            values = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise UserError(
                f"column {column.name!r} of {path} holds lists of values that are not numbers, in row {row}: "
                f"{shown(cell)}"
            ) from None
        width = len(np.atleast_1d(values)) if row == first else width
        if values.ndim == 1 and len(values) != width:
            raise UserError(f"{where} is no list of {width} numbers as row {first} is")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if values.ndim != 1 or not np.isfinite(values).all():
            raise UserError(f"{where} holds no flat list of finite numbers")
        rows.append(values)
    return np.array(rows, dtype=np.float32)


def _parsed(where: str, text: str) -> Any:
    """The list that a text stands for, as JSON, Python, NumPy or PyTorch print it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if "..." in text or "…" in text:
        raise UserError(
            f"{where} is the text of a list that was cut short when it was printed: {shown(text)}; write the "
            "numbers in full, such as with .tolist(), or save the table as .parquet"
        )
    if not _LIST.fullmatch(text):
        raise UserError(f"{where} is no list of numbers: {shown(text)}")
    inner = text[text.index("[") + 1 : text.rindex("]")]
    if "[" in inner:
        raise UserError(f"{where} holds no flat list of numbers: {shown(text)}")
    try:
        return [float(part) for part in inner.replace(",", " ").split()]
    except ValueError:
        raise UserError(
            f"{where} is text that looks like a list but is none of numbers: {shown(text)}; write it as "
            "JSON, or save the table as .parquet"
        ) from None
