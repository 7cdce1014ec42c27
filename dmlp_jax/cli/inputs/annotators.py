"""Reads the labels of several annotators: columns of a table, or a long table with a line for each label."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import table_frames, tables
from dmlp_jax.data import class_labels
from dmlp_jax.errors import UserError, nearest


class GivenVotes(NamedTuple):
    """Labels of several annotators.

    Attributes:
        names: of the annotators, [a].
        cells: labels [n, a], strings; '' where an annotator gave none.
    """

    names: tuple[str, ...]
    cells: np.ndarray

    def majority(self) -> np.ndarray:
        """The label that most annotators gave to each row [n]; ties go to the more frequent one."""
        given = self.cells != ""
        names, codes = np.unique(self.cells[given], return_inverse=True)
        votes = np.full(self.cells.shape, -1, np.int32)
        votes[given] = codes
        return names[majority(votes, len(names))]


def named(column: str | None) -> tuple[str, ...]:
    """Names of the annotators' columns in --label-column; empty where it names one column."""
    names = tuple(name.strip() for name in (column or "").split(","))
    return names if len(names) > 1 else ()


def read_wide(path: Path, names: tuple[str, ...]) -> GivenVotes:
    """Labels from columns of a table.

    Raises:
        UserError: a column is missing or named twice, or a row has no label.
    """
    if not tables.is_table(path):
        raise UserError(f"{path} is not a table, so it has no columns {', '.join(names)}")
    if len(set(names)) < len(names):
        raise UserError(f"--label-column names an annotator twice: {', '.join(names)}")
    frame = _frame(path, names)
    found = GivenVotes(names, np.stack([_texts(frame[name]) for name in names], axis=1))
    _check(path, found)
    return found


def read_long(path: Path, ids: np.ndarray, id_column: str, annotator: str, label: str | None) -> GivenVotes:
    """Labels from a long table: one line for each label, with the row's name and the annotator.

    Args:
        path: the table.
        ids: names of the rows [n], in their order.
        id_column: column of the rows' names.
        annotator: column of the annotators' names.
        label: column of labels, 'label' by default.

    Raises:
        UserError: a column is missing, a row is unknown or has no label, or an annotator labelled a row twice
            and differently.
    """
    label = label or tables.LABEL_COLUMN
    frame = _frame(path, (id_column, annotator, label))
    rows, who, given = (_texts(frame[name]) for name in (id_column, annotator, label))
    places = {str(name): row for row, name in enumerate(ids)}
    for line, name in enumerate(rows):
        if name not in places:
            raise UserError(
                f"{path}, line {line + 2}: {id_column} is {name!r}, which names no row"
                + nearest(name, list(places))
            )
    names = tuple(sorted(set(who) - {""}))
    if len(names) < 2:
        raise UserError(f"column {annotator!r} of {path} names {len(names)} annotators; it takes two")
    number = {name: place for place, name in enumerate(names)}
    cells = np.full((len(ids), len(names)), "", dtype=object)
    for line, (row, annotated_by, text) in enumerate(zip(rows, who, given, strict=True)):
        if not text or not annotated_by:
            continue
        place = places[row], number[annotated_by]
        if cells[place] not in ("", text):
            raise UserError(
                f"{path}, line {line + 2}: {annotated_by!r} labelled {row!r} twice, {cells[place]!r} and "
                f"{text!r}; keep one of the lines"
            )
        cells[place] = text
    found = GivenVotes(names, cells)
    _check(path, found)
    return found


def encode(found: GivenVotes, names: tuple[str, ...], num_classes: int | None) -> np.ndarray:
    """Votes as indices of the classes `names`, [n, a] int32, -1 where an annotator gave none.

    Raises:
        UserError: a label is none of the classes.
    """
    known = found.cells != ""
    codes, own = class_labels.encode({"labels of annotators": found.cells[known]}, num_classes)
    place = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(own) - set(names))
    if unknown:
        raise UserError(f"annotators gave {unknown[0]!r}, which is no class ({', '.join(names[:8])})")
    votes = np.full(found.cells.shape, -1, np.int32)
    votes[known] = np.array([place[name] for name in own], np.int32)[codes["labels of annotators"]]
    return votes


def majority(votes: np.ndarray, classes: int) -> np.ndarray:
    """The class with the most votes of each row, as `purify` counts them.

    Args:
        votes: class indices [n, a], -1 for none.
        classes: c.
    """
    import jax.numpy as jnp

    from dmlp_jax.purifier.annotators import votes as votes_lib

    return np.asarray(votes_lib.majority(jnp.asarray(votes), classes))


def _check(path: Path, found: GivenVotes) -> None:
    known = found.cells != ""
    if not known.any(axis=1).all():
        row = int((~known.any(axis=1)).argmax())
        raise UserError(
            f"{path}: no annotator labelled row {row} ({int((~known.any(axis=1)).sum())} such rows); remove "
            "these rows, or add a label"
        )
    for name, some in zip(found.names, known.any(axis=0), strict=True):
        if not some:
            raise UserError(f"{path}: annotator {name!r} gave no label; leave it out")


def _frame(path: Path, names: tuple[str, ...]) -> Any:
    frame = table_frames.read(path, names)
    for name in names:
        if name not in frame:
            raise UserError(
                f"{path} has no column {name!r}{nearest(name, list(map(str, frame.columns)))}; it has "
                + ", ".join(map(repr, list(frame.columns)[:8]))
            )
    return frame


def _texts(column: Any) -> np.ndarray:
    """Cells of a column as strings [n], '' where one is empty or -1."""
    texts = ["" if class_labels.is_missing(value) else str(value).strip() for value in column.tolist()]
    return np.array(["" if text in ("-1", "-1.0") else text for text in texts], dtype=object)
