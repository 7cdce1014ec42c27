"""Reads decisions.csv, the file that the report's review page exports, and checks which data it belongs to.

The columns are index, given_label, predicted_label, decision, confidence, label, run and picked. `decision`
is one of `DECISIONS` in `decision_records.py`; `label` is the row's class after the decision; `run` is the
fingerprint of the run that the page shows; `picked` says how the row came to be reviewed, one of `PICKED` in
`decision_records.py`. Files written by hand may leave confidence, run and picked out, and label where nothing
is corrected.

A column `id` has the names of the rows. Where the rows to decide on have names, too, decisions find their
rows by these: the table may have been sorted anew since, or have grown, and neither index nor run has to fit.
What a row was given is then what the file says, because that is the label that was reviewed.

A row may be decided on more than once, in one file or several: see `cli/inputs/review_conflicts.py`. The
column `settles` of conflicts.csv marks a decision that ends such a conflict.

review.csv, the table of `dmlp-purify --suggest`, has the same columns. Who fills it in writes a decision, or
the right class as `label` or in the place of the decision. Rows of both empty are not decided yet: in a file
with a run they are left out. If one of them was drawn at random, the others are no random sample any more.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.report import decision_records as records

COLUMNS = ("index", "given_label", "predicted_label", "decision", "confidence", "label", "run", "picked")
_NEEDED = COLUMNS[:4]
# What is needed where rows are found by their names.
_NEEDED_BY_NAME = ("id", "decision")


class Decisions(NamedTuple):
    """Decisions of one file, skipped ones left out; arrays [k]. A row may be among them more than once.

    Attributes:
        rows: positions among the noisy rows.
        lines: number of each decision's line in the file.
        given: class indices that the rows had been given when they were reviewed, int32.
        labels: the decided class indices, int32.
        predicted: class indices that the page proposed, int32.
        kinds: the decisions, strings.
        confidence: confidence of the proposals, float64 in [0, 1], NaN where the file has none.
        random: whether the row was drawn at random, bool. False where the file does not say so: most reviewed
            rows were picked because they look suspicious.
        skipped: number of rows that were skipped.
        undecided: number of rows without decision and label.
        undecided_random: how many of them were drawn at random. If any, no row counts as such.
        settles: whether a decision ends a conflict of earlier ones, bool.
        absent: number of decisions whose row is not, or not any more, among the noisy rows, by its name.
        relabelled: number of decisions whose row has been given another label since.
    """

    rows: np.ndarray
    lines: np.ndarray
    given: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    kinds: np.ndarray
    confidence: np.ndarray
    random: np.ndarray
    skipped: int
    settles: np.ndarray
    undecided: int = 0
    undecided_random: int = 0
    absent: int = 0
    relabelled: int = 0


def fingerprint(given: np.ndarray, class_names: tuple[str, ...], index: np.ndarray) -> str:
    """Hash of the noisy rows, 16 hex digits: of given labels, class names and row numbers.

    Features are not part of it, so decisions stay valid when the encoder changes.

    Args:
        given: class indices [n].
        class_names: one per class.
        index: number of each row [n].
    """
    digest = hashlib.sha256()
    for values in (np.asarray(given, "<i8"), np.asarray(index, "<i8")):
        digest.update(len(values).to_bytes(8, "little") + values.tobytes())
    for name in class_names:
        digest.update(name.encode("utf-8", "backslashreplace") + b"\0")
    return digest.hexdigest()[:16]


def run_fingerprint(data: str, purified: np.ndarray) -> str:
    """Hash of a run: the `fingerprint` of its rows, a dash, 8 hex digits of its purified labels [n]."""
    return f"{data}-{hashlib.sha256(np.asarray(purified, '<i8').tobytes()).hexdigest()[:8]}"


def read(
    path: Path,
    given: np.ndarray,
    class_names: tuple[str, ...],
    index: np.ndarray,
    *,
    ids: Sequence[str] | np.ndarray | None = None,
    runs: Sequence[str] = (),
    text: str | None = None,
) -> Decisions:
    """Reads and checks a file of decisions against the noisy rows.

    Args:
        path: the file.
        given: given class indices of the noisy rows [n].
        class_names: one per class.
        index: number of each noisy row [n].
        ids: name of each noisy row [n]; None without names.
        runs: fingerprints of other sets of noisy rows that the file may belong to, see `fingerprint`.
        text: contents in the format of decisions.csv, of a file that has another; by default they are read.

    Raises:
        UserError: the file cannot be read, is malformed, or belongs to other rows; the message names line and
            column.
    """
    text = _text(path) if text is None else text
    table = csv.DictReader(io.StringIO(text, newline=""), restkey="more", restval="", strict=True)
    by_name = ids is not None and "id" in (_header(path, table) or [])
    _check_header(path, table, by_name)
    named: dict[str, list[int]] = {}
    for place, name in enumerate([] if ids is None or not by_name else ids):
        named.setdefault(str(name), []).append(place)
    noisy = records.NoisyRows(
        given,
        class_names,
        classes={name: label for label, name in enumerate(class_names)},
        places={int(number): place for place, number in enumerate(index)},
        named=named if by_name else None,
        runs=frozenset({fingerprint(given, class_names, index), *runs}),
    )
    kept, skipped, absent, undecided = [], 0, 0, []
    for line, record in _records(path, table):
        where = f"{path}, line {line}"
        if "more" in record:
            raise UserError(f"{where}: more values than columns; quote labels that hold commas")
        row = records.find(where, record, noisy)
        if records.is_undecided(record):
            undecided.append(records.is_random_draw(where, record.get("picked", "")))
        elif row is None:
            absent += 1
        else:
            one = records.read(where, record, row, noisy)
            if one is None:
                skipped += 1
            else:
                kept.append((row, line, *one))
    if undecided and not kept:
        raise UserError(
            f"{path}: no row is decided yet; write the right class into the column label of each reviewed row"
        )
    if absent and absent >= len(kept) + skipped:
        raise UserError(
            f"{path}: {absent:,} of {absent + len(kept) + skipped:,} decisions are on rows that are not "
            "among those to purify, by their names; it is of another table, or --id-column names "
            "another column"
        )
    types: tuple[Any, ...] = (
        np.int64,
        np.int64,
        np.int32,
        np.int32,
        np.int32,
        np.str_,
        np.float64,
        bool,
        bool,
    )
    columns = zip(*kept, strict=True) if kept else ([],) * len(types)
    rows, lines, before, labels, predicted, kinds, confidences, random, settles = (
        np.array(column, type) for column, type in zip(columns, types, strict=True)
    )
    return Decisions(
        rows=rows,
        lines=lines,
        given=before,
        labels=labels,
        predicted=predicted,
        kinds=kinds,
        confidence=confidences,
        random=random & (not any(undecided)),
        skipped=skipped,
        undecided=len(undecided),
        undecided_random=sum(undecided),
        settles=settles,
        absent=absent,
        relabelled=int(np.sum(before != given[rows])),
    )


def _text(path: Path) -> str:
    try:
        # Spreadsheets put a byte order mark before UTF-8.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from error


def _header(path: Path, table: csv.DictReader) -> Sequence[str]:
    try:
        return table.fieldnames or []
    except csv.Error as error:
        raise UserError(f"{path}, line 1: {error}") from error


def _check_header(path: Path, table: csv.DictReader, by_name: bool) -> None:
    names = _header(path, table)
    missing = [name for name in (_NEEDED_BY_NAME if by_name else _NEEDED) if name not in names]
    if missing:
        raise UserError(
            f"{path}, line 1: no column {', '.join(missing)}; the file must be a comma-separated table with "
            f"the columns {', '.join(COLUMNS)}, it has {', '.join(map(repr, names)) or 'none'}"
        )
    twice = [name for name in ("id", *COLUMNS) if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}, line 1: the column {twice[0]} occurs twice; remove one")


def _records(path: Path, table: csv.DictReader):
    """Yields each record with the number of its last line."""
    try:
        for record in table:
            yield table.line_num, record
    except csv.Error as error:
        raise UserError(f"{path}, line {table.reader.line_num}: {error}") from error
