"""Reads features and labels from tables with pandas: .csv, .tsv, and .parquet (extra `tables`: pyarrow)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import cells, columns, table_frames
from dmlp_jax.cli.inputs.table_frames import SEPARATORS, SUFFIXES, is_table
from dmlp_jax.errors import UserError, nearest

LABEL_COLUMN = "label"

__all__ = ["LABEL_COLUMN", "SEPARATORS", "SUFFIXES", "Table", "is_table", "read", "read_column"]


class Table(NamedTuple):
    """Contents of a table.

    Attributes:
        features: [n, d] float32.
        labels: [n] as in the table, or None if no label column was requested and there is none.
        ids: [n] strings, or None.
        columns: names of the columns that were used as features.
        left_out: why each of the other columns but labels and ids is no feature, by name; see `columns`.
    """

    features: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray | None
    columns: tuple[str, ...]
    left_out: dict[str, str]


def read(
    path: Path,
    *,
    label_column: str | None = None,
    feature_columns: tuple[str, ...] | None = None,
    id_column: str | None = None,
    exact: bool = False,
    labelled: bool = True,
    labels: np.ndarray | None = None,
    ignored: tuple[str, ...] = (),
) -> Table:
    """Reads a table.

    Args:
        path: the file.
        label_column: column of labels, 'label' by default if it exists. Never a feature.
        feature_columns: names of columns, or prefixes of names. By default the rules in `columns` decide.
        id_column: column of the rows' names. Never a feature.
        exact: whether `feature_columns` are full names, such as another table's `Table.columns`.
        labelled: whether `label_column`, if given, must exist.
        labels: labels from another file [n], which the rules go by in place of those of the table.
        ignored: columns that are no features, such as labels of several annotators.

    Raises:
        UserError: pyarrow, which .parquet needs, is not installed, the file cannot be read, a column is
            missing or cannot be a feature, or a feature is not a finite number.
    """
    frame = table_frames.read(path, (label_column or LABEL_COLUMN, id_column))
    if not len(frame):
        raise UserError(f"{path} has no rows")
    if label_column is not None and labelled:
        _require(path, frame, label_column, "the label column")
    wanted = label_column or LABEL_COLUMN
    label = wanted if wanted in frame else None
    if id_column is not None:
        _require(path, frame, id_column, "the id column")
    others = [name for name in frame.columns if name not in (label, id_column, *ignored)]
    left_out: dict[str, str] = {}
    own = None if label is None else _objects(frame[label])
    if feature_columns is None:
        taken, left_out = columns.choose(path, frame, others, own if labels is None else labels)
        if not taken:
            reasons = ", ".join(f"{name!r} ({reason})" for name, reason in list(left_out.items())[:8])
            beside = f" beside {label!r}" if label is not None else ""
            raise UserError(f"{path} has no column of numbers{beside}: {reasons or _listed(frame.columns)}")
    else:
        if not feature_columns:
            raise UserError("--feature-columns names no column; leave it out to take all columns of numbers")
        _refuse_as_features(path, feature_columns, {label: "labels", id_column: "ids"})
        names = [name for text in feature_columns for name in _matching(path, frame, others, text, exact)]
        taken = {name: cells.numbers(path, frame[name]) for name in dict.fromkeys(names)}
    return Table(
        features=np.concatenate(list(taken.values()), axis=1),
        labels=own,
        ids=None if id_column is None else _objects(frame[id_column]).astype(np.str_),
        columns=tuple(taken),
        left_out=left_out,
    )


def read_column(path: Path, column: str | None) -> np.ndarray:
    """A column [n] of a table, unchanged; without a name the column 'label', or the only column.

    Raises:
        UserError: as `read`.
    """
    frame = table_frames.read(path, (column or LABEL_COLUMN,))
    if column is None and LABEL_COLUMN not in frame and len(frame.columns) == 1:
        frame = table_frames.read(path, (frame.columns[0],))
        return _objects(frame[frame.columns[0]])
    _require(path, frame, column or LABEL_COLUMN, "the label column")
    return _objects(frame[column or LABEL_COLUMN])


def read_shown(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Columns of a table as texts [n], by name, for people to read; empty where a value is missing.

    Raises:
        UserError: the file is no table, or a column is missing.
    """
    if not is_table(path):
        raise UserError(
            f"--show-columns: {path} is no table, so it has no columns; use {', '.join(SUFFIXES)}"
        )
    frame = table_frames.read(path, names)
    for name in names:
        _require(path, frame, name, "--show-columns")
    return {
        name: frame[name].astype(object).where(frame[name].notna(), "").map(str).tolist() for name in names
    }


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


def _objects(column: Any) -> np.ndarray:
    """Values [n]; numbers keep their type, everything else becomes Python objects."""
    return column.to_numpy() if column.dtype.kind in "iufb" else column.to_numpy(dtype=object)


def _listed(columns: Any) -> str:
    names = [repr(str(name)) for name in columns]
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
