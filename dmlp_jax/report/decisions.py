"""Reads decisions.csv, the file that the report's review page exports, and checks which data it belongs to.

The columns are index, given_label, predicted_label, decision, confidence, label, run and picked. `decision`
is one of `DECISIONS`; `label` is the row's class after the decision; `run` is the fingerprint of the run that
the page shows; `picked` says how the row came to be reviewed, one of `PICKED`. Files written by hand may
leave confidence, run and picked out, and label where nothing is corrected.

review.csv, the table of `dmlp-purify --suggest`, has the same columns. Who fills it in writes a decision, or
the right class as `label` or in the place of the decision. Rows of both empty are not decided yet: in a file
with a run they are left out. If one of them was drawn at random, the others are no random sample any more.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError

DECISIONS = ("accept", "reject", "correct", "skip")
RANDOM = "random"
PICKED = (RANDOM, "suspicious", "own choice", "uncertain", "class")
COLUMNS = ("index", "given_label", "predicted_label", "decision", "confidence", "label", "run", "picked")
_NEEDED = COLUMNS[:4]


class Decisions(NamedTuple):
    """Decided rows of one file, skipped ones left out; arrays [k].

    Attributes:
        rows: positions among the noisy rows.
        labels: the decided class indices, int32.
        predicted: class indices that the page proposed, int32.
        kinds: the decisions, strings.
        confidence: confidence of the proposals, float64 in [0, 1], NaN where the file has none.
        random: whether the row was drawn at random, bool. False where the file does not say so: most reviewed
            rows were picked because they look suspicious.
        skipped: number of rows that were skipped.
        undecided: number of rows without decision and label.
        undecided_random: how many of them were drawn at random. If any, no row counts as such.
    """

    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    kinds: np.ndarray
    confidence: np.ndarray
    random: np.ndarray
    skipped: int
    undecided: int = 0
    undecided_random: int = 0


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


def read(path: Path, given: np.ndarray, class_names: tuple[str, ...], index: np.ndarray) -> Decisions:
    """Reads and checks a file of decisions against the noisy rows; see `fingerprint` for the arguments.

    Raises:
        UserError: the file cannot be read, is malformed, or belongs to other rows; the message names line and
            column.
    """
    table = csv.DictReader(io.StringIO(_text(path), newline=""), restkey="more", restval="", strict=True)
    _check_header(path, table)
    wanted = fingerprint(given, class_names, index)
    places = {int(number): place for place, number in enumerate(index)}
    classes = {name: label for label, name in enumerate(class_names)}
    seen: dict[int, int] = {}
    kept, skipped, undecided = [], 0, []
    for line, record in _records(path, table):
        where = f"{path}, line {line}"
        if "more" in record:
            raise UserError(f"{where}: more values than columns; quote labels that hold commas")
        _check_run(where, record.get("run", ""), wanted)
        place = _place(where, record["index"], places)
        if _is_undecided(record):
            undecided.append(_is_random(where, record.get("picked", "")))
            continue
        if place in seen:
            raise UserError(
                f"{where}, column index: row {record['index']} is decided twice, before in line {seen[place]}"
            )
        seen[place] = line
        proposed = _proposed(where, record, classes)
        if _class(where, "given_label", record["given_label"], classes) != given[place]:
            raise UserError(
                f"{where}, column given_label: row {record['index']} is given as "
                f"{class_names[given[place]]!r}, not {record['given_label']!r}; the file is for other data"
            )
        kind, label = _decided(where, record, int(given[place]), proposed, classes)
        is_random = _is_random(where, record.get("picked", ""))
        if label is None:
            skipped += 1
        else:
            confidence = _confidence(where, record.get("confidence", ""))
            # Without a proposal nothing was to be changed.
            shown = int(given[place]) if proposed is None else proposed
            kept.append((place, label, shown, kind, confidence, is_random))
    if undecided and not kept:
        raise UserError(
            f"{path}: no row is decided yet; write the right class into the column label of each reviewed row"
        )
    types: tuple[Any, ...] = (np.int64, np.int32, np.int32, np.str_, np.float64, np.bool_)
    columns = zip(*kept, strict=True) if kept else ([],) * len(types)
    rows, labels, predicted, kinds, confidences, random = (
        np.array(column, type) for column, type in zip(columns, types, strict=True)
    )
    random &= not any(undecided)
    return Decisions(
        rows, labels, predicted, kinds, confidences, random, skipped, len(undecided), sum(undecided)
    )


def _text(path: Path) -> str:
    try:
        # Spreadsheets put a byte order mark before UTF-8.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from error


def _check_header(path: Path, table: csv.DictReader) -> None:
    try:
        names = table.fieldnames or []
    except csv.Error as error:
        raise UserError(f"{path}, line 1: {error}") from error
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise UserError(
            f"{path}, line 1: no column {', '.join(missing)}; the file must be a comma-separated table with "
            f"the columns {', '.join(COLUMNS)}, it has {', '.join(map(repr, names)) or 'none'}"
        )
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}, line 1: the column {twice[0]} occurs twice; remove one")


def _records(path: Path, table: csv.DictReader):
    """Yields each record with the number of its last line."""
    try:
        for record in table:
            yield table.line_num, record
    except csv.Error as error:
        raise UserError(f"{path}, line {table.reader.line_num}: {error}") from error


def _check_run(where: str, run: str, wanted: str) -> None:
    if run and run.split("-")[0] != wanted:
        raise UserError(
            f"{where}, column run: decisions of another run ({run}; these rows are {wanted}); give the same "
            "files and options as the run that was reviewed, and earlier --apply files before this one"
        )


def _place(where: str, text: str, places: dict[int, int]) -> int:
    try:
        number = int(text)
    except ValueError:
        raise UserError(f"{where}, column index: {text!r} is not a row number") from None
    if number not in places:
        raise UserError(
            f"{where}, column index: there is no row {number} to decide on; the noisy rows are "
            f"{min(places)} to {max(places)} without the clean rows"
        )
    return places[number]


def _class(where: str, column: str, text: str, classes: dict[str, int]) -> int:
    if text not in classes:
        shown = ", ".join(list(classes)[:8]) + (", ..." if len(classes) > 8 else "")
        raise UserError(f"{where}, column {column}: {text!r} is not a class; the classes are {shown}")
    return classes[text]


def _is_undecided(record: dict[str, str]) -> bool:
    """Whether nobody has filled in this row of a table that a run wrote."""
    empty = not (record["decision"].strip() or record.get("label", "").strip())
    return empty and bool(record.get("run", ""))


def _proposed(where: str, record: dict[str, str], classes: dict[str, int]) -> int | None:
    """The proposed class; None in a table that was written before anything was purified."""
    if not record["predicted_label"] and record.get("run", ""):
        return None
    return _class(where, "predicted_label", record["predicted_label"], classes)


def _decided(
    where: str, record: dict[str, str], given: int, proposed: int | None, classes: dict[str, int]
) -> tuple[str, int | None]:
    """The kind of decision, and the row's class after it; None where the row was skipped."""
    decision, text = record["decision"], record.get("label", "")
    if decision == "skip":
        return decision, None
    if decision == "correct":
        return decision, _class(where, "label", text, classes)
    if decision not in DECISIONS:
        return _by_class(where, decision, text, given, proposed, classes)
    label = proposed if decision == "accept" else given
    if label is None:
        raise UserError(
            f"{where}, column decision: nothing is proposed for this row, so nothing can be accepted; write "
            "its right class into the column label"
        )
    if text and _class(where, "label", text, classes) != label:
        raise UserError(
            f"{where}, column label: {decision!r} stands for another label than {text!r}; to give this label "
            "write 'correct' as the decision"
        )
    return decision, label


def _by_class(
    where: str, decision: str, text: str, given: int, proposed: int | None, classes: dict[str, int]
) -> tuple[str, int]:
    """The decision that a class stands for, written as the label or in the place of the decision."""
    if decision and decision not in classes:
        raise UserError(
            f"{where}, column decision: {decision!r} is none of {', '.join(DECISIONS)}, and no class"
        )
    if decision and text and decision != text:
        raise UserError(
            f"{where}: the decision is {decision!r} and the label {text!r}; write the right class once"
        )
    if not (decision or text):
        raise UserError(f"{where}, column decision: '' is none of {', '.join(DECISIONS)}, and no class")
    label = _class(where, "label", decision or text, classes)
    return "accept" if label == proposed else "reject" if label == given else "correct", label


def _is_random(where: str, picked: str) -> bool:
    """Whether the row was drawn at random."""
    if picked and picked not in PICKED:
        raise UserError(
            f"{where}, column picked: {picked!r} is none of {', '.join(PICKED)}; write one of these, or "
            "leave it empty where the row was not drawn at random"
        )
    return picked == RANDOM


def _confidence(where: str, text: str) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if not (np.isnan(value) or 0 <= value <= 1):
        raise UserError(f"{where}, column confidence: {text!r} is not a number from 0 to 1")
    return value
