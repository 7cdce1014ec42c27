"""Reads features and labels from tables with pandas: .csv, .tsv, and .parquet (extra `tables`: pyarrow)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError, nearest

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")
LABEL_COLUMN = "label"
# Texts that count as missing numbers. Labels and ids may be called 'NA' or 'None'.
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "null", "NULL", "None", "#N/A", "<NA>"]


class Table(NamedTuple):
    """Contents of a table.

    Attributes:
        features: [n, d] float32.
        labels: [n] as in the table, or None if no label column was requested and there is none.
        ids: [n] strings, or None.
        columns: names of the columns that were used as features.
        left_out: names of the other columns but labels and ids: row numbers and columns that are not numeric.
    """

    features: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray | None
    columns: tuple[str, ...]
    left_out: tuple[str, ...]


def read(
    path: Path,
    *,
    label_column: str | None = None,
    feature_columns: tuple[str, ...] | None = None,
    id_column: str | None = None,
    exact: bool = False,
    labelled: bool = True,
) -> Table:
    """Reads a table.

    Args:
        path: the file.
        label_column: column of labels, 'label' by default if it exists. Never a feature.
        feature_columns: names of columns, or prefixes of names. By default all columns of numbers, or of
            lists of numbers, except labels, ids, and row numbers written by other tools.
        id_column: column of the rows' names. Never a feature.
        exact: whether `feature_columns` are full names, such as another table's `Table.columns`.
        labelled: whether `label_column`, if given, must exist.

    Raises:
        UserError: pyarrow, which .parquet needs, is not installed, the file cannot be read, a column is
            missing or cannot be a feature, or a feature is not a finite number.
    """
    frame = _read_frame(path, label_column or LABEL_COLUMN, id_column)
    if not len(frame):
        raise UserError(f"{path} has no rows")
    if label_column is not None and labelled:
        _require(path, frame, label_column, "the label column")
    wanted = label_column or LABEL_COLUMN
    label = wanted if wanted in frame else None
    if id_column is not None:
        _require(path, frame, id_column, "the id column")
    others = [name for name in frame.columns if name not in (label, id_column)]
    left_out: tuple[str, ...] = ()
    if feature_columns is None:
        columns = [name for name in others if _is_numeric(frame[name]) and not _counts_rows(frame[name])]
        left_out = tuple(name for name in others if name not in columns)
        if not columns:
            raise UserError(f"{path} has no column of numbers beside {label!r}: {_listed(frame.columns)}")
    else:
        if not feature_columns:
            raise UserError("--feature-columns names no column; leave it out to take all columns of numbers")
        _refuse_as_features(path, feature_columns, {label: "labels", id_column: "ids"})
        columns = [name for text in feature_columns for name in _matching(path, frame, others, text, exact)]
    features = np.concatenate([_numbers(path, frame[name]) for name in dict.fromkeys(columns)], axis=1)
    return Table(
        features=features,
        labels=None if label is None else _objects(frame[label]),
        ids=None if id_column is None else _objects(frame[id_column]).astype(np.str_),
        columns=tuple(dict.fromkeys(columns)),
        left_out=left_out,
    )


def read_column(path: Path, column: str | None) -> np.ndarray:
    """A column [n] of a table, unchanged; without a name the column 'label', or the only column.

    Raises:
        UserError: as `read`.
    """
    frame = _read_frame(path, column or LABEL_COLUMN, None)
    if column is None and LABEL_COLUMN not in frame and len(frame.columns) == 1:
        frame = _read_frame(path, frame.columns[0], None)
        return _objects(frame[frame.columns[0]])
    _require(path, frame, column or LABEL_COLUMN, "the label column")
    return _objects(frame[column or LABEL_COLUMN])


def read_shown(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Columns of a table as texts [n], by name, for people to read; empty where a value is missing.

    Raises:
        UserError: the file is no table, or a column is missing.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"--show-columns: {path} is no table, so it has no columns; use {', '.join(SUFFIXES)}"
        )
    frame = _read_frame(path, None, None)
    for name in names:
        _require(path, frame, name, "--show-columns")
    return {
        name: frame[name].astype(object).where(frame[name].notna(), "").map(str).tolist() for name in names
    }


def _read_frame(path: Path, label: str | None, identifier: str | None) -> Any:
    import pandas  # Takes half a second, which --help and .npy files need not wait for.

    try:
        if path.suffix == ".parquet":
            return pandas.read_parquet(path)
        separator = SEPARATORS[path.suffix]
        header = list(pandas.read_csv(path, sep=separator, nrows=0).columns)
        texts = [name for name in header if name in (label, identifier)]
        return pandas.read_csv(
            path,
            sep=separator,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: [""] if name in texts else _MISSING for name in header},
            low_memory=False,
        )
    except ImportError as error:
        raise UserError(
            f"{path}: parquet needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    except (OSError, ValueError, KeyError, pandas.errors.ParserError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a table ({reason})") from error


def _require(path: Path, frame: Any, name: str, what: str) -> None:
    if name not in frame:
        raise UserError(
            f"{path} has no column {name!r} for {what}"
            f"{nearest(str(name), list(map(str, frame.columns)))}; it has {_listed(frame.columns)}"
        )


def _refuse_as_features(path: Path, wanted: tuple[str, ...], holds: dict[str | None, str]) -> None:
    """Raises a UserError if a requested feature column has another purpose, listed in `holds`."""
    for name in wanted:
        if name in holds:
            raise UserError(
                f"--feature-columns names {name!r}, but that column of {path} holds the {holds[name]}, which "
                "cannot be a feature; leave it out"
            )


def _matching(path: Path, frame: Any, others: list[str], wanted: str, exact: bool) -> list[str]:
    """The column named `wanted`; if there is none and unless `exact`, all columns with that prefix."""
    if wanted in frame:
        return [wanted]
    if exact:
        _require(path, frame, wanted, "features")
    found = [name for name in others if str(name).startswith(wanted)]
    if not found:
        _require(path, frame, wanted, "features")
    return found


def _is_numeric(column: Any) -> bool:
    from pandas.api import types

    if types.is_bool_dtype(column):
        return False
    return types.is_numeric_dtype(column) or _is_nested(column)


def _is_nested(column: Any) -> bool:
    return column.dtype.kind == "O" and isinstance(column.iloc[0], (list, tuple, np.ndarray))


def _counts_rows(column: Any) -> bool:
    """Whether a column holds row numbers, 0, 1, 2, ... or 1, 2, 3, ..., which are not a feature."""
    if column.dtype.kind not in "iu" or len(column) < 3:
        return False
    values = column.to_numpy()
    return bool(values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0]))


def _numbers(path: Path, column: Any) -> np.ndarray:
    """A column as float32, [n, 1], or [n, k] if it holds lists of k numbers."""
    if _is_nested(column):
        return _nested(path, column)
    import pandas

    values = pandas.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise UserError(
            f"column {column.name!r} of {path} holds {column.iloc[row]!r} in row {row} ({int(bad.sum())} "
            "rows without a finite number); repair or remove these rows, or choose other --feature-columns"
        )
    return values[:, None]


def _nested(path: Path, column: Any) -> np.ndarray:
    width = len(column.iloc[0])
    for row, values in enumerate(column):
        if not isinstance(values, (list, tuple, np.ndarray)) or len(values) != width:
            raise UserError(
                f"column {column.name!r} of {path}: row {row} is no list of {width} numbers as row 0 is"
            )
    try:
        matrix = np.array(column.tolist(), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"column {column.name!r} of {path} holds lists of values that are not numbers"
        ) from error
    bad = ~np.isfinite(matrix).all(axis=-1)
    if matrix.ndim != 2 or bad.any():
        raise UserError(
            f"column {column.name!r} of {path}: row {int(bad.argmax())} holds no flat list of finite numbers"
        )
    return matrix


def _objects(column: Any) -> np.ndarray:
    """Values [n]; numbers keep their type, everything else becomes Python objects."""
    return column.to_numpy() if column.dtype.kind in "iufb" else column.to_numpy(dtype=object)


def _listed(columns: Any) -> str:
    names = [repr(str(name)) for name in columns]
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
