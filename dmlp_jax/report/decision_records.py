"""Reads one record of decisions.csv: which row it is about, what was decided, and how the row was picked."""

from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError

DECISIONS = ("accept", "reject", "correct", "skip")
RANDOM = "random"
PICKED = (RANDOM, "suspicious", "own choice", "uncertain", "class")


class NoisyRows(NamedTuple):
    """The noisy rows, as records are matched with them.

    Attributes:
        given: given class indices [n].
        class_names: one per class.
        classes: class index by name.
        places: position of each row by its number.
        named: positions of the rows of each name; None where rows have no names.
        runs: fingerprints of the runs that the file may belong to, see `decisions.fingerprint`.
    """

    given: np.ndarray
    class_names: tuple[str, ...]
    classes: dict[str, int]
    places: dict[int, int]
    named: dict[str, list[int]] | None
    runs: frozenset[str]


def find(where: str, record: dict[str, str], noisy: NoisyRows) -> int | None:
    """The position of a record's row; None where no row has its name.

    Args:
        where: file and line, for messages.
        record: values by column.
        noisy: the rows.

    Raises:
        UserError: the record is of another run, names no row, or a name that several rows have.
    """
    if noisy.named is None:
        _check_run(where, record.get("run", ""), noisy.runs)
        return _place(where, record["index"], noisy.places)
    places = noisy.named.get(record["id"], [])
    if len(places) > 1:
        raise UserError(
            f"{where}, column id: {len(places)} rows are called {record['id']!r}, so it is unclear which one "
            "was reviewed; give each row a name of its own"
        )
    return places[0] if places else None


def read(where: str, record: dict[str, str], place: int, noisy: NoisyRows) -> tuple[Any, ...] | None:
    """Reads the record of the row at `place`; None where the row was skipped.

    Returns:
        The label that was given before, the decided and the proposed one (class indices), the kind of
        decision, the confidence in [0, 1], whether the row was drawn at random, and whether it settles a
        conflict.

    Raises:
        UserError: a value is malformed, or the row was given another label.
    """
    given, classes = int(noisy.given[place]), noisy.classes
    proposed = _proposed(where, record, classes, needed=noisy.named is None)
    if noisy.named is not None and not record.get("given_label"):
        before = given
    else:
        before = _class(where, "given_label", record["given_label"], classes)
    if noisy.named is None and before != given:
        raise UserError(
            f"{where}, column given_label: row {record['index']} is given as "
            f"{noisy.class_names[given]!r}, not {record['given_label']!r}; the file is for other data"
        )
    kind, label = _decided(where, record, before, proposed, classes)
    is_random = is_random_draw(where, record.get("picked", ""))
    if label is None:
        return None
    confidence = _confidence(where, record.get("confidence", ""))
    # Without a proposal nothing was to be changed.
    shown = before if proposed is None else proposed
    return before, label, shown, kind, confidence, is_random, bool(record.get("settles", ""))


def is_undecided(record: dict[str, str]) -> bool:
    """Whether nobody has filled in this row of a table that a run wrote."""
    empty = not (record["decision"].strip() or record.get("label", "").strip())
    return empty and bool(record.get("run", ""))


def is_random_draw(where: str, picked: str) -> bool:
    """Whether the row was drawn at random."""
    if picked and picked not in PICKED:
        raise UserError(
            f"{where}, column picked: {picked!r} is none of {', '.join(PICKED)}; write one of these, or "
            "leave it empty where the row was not drawn at random"
        )
    return picked == RANDOM


def _check_run(where: str, run: str, wanted: frozenset[str]) -> None:
    if run and run.split("-")[0] not in wanted:
        raise UserError(
            f"{where}, column run: decisions of another run ({run}; these rows are "
            f"{', '.join(sorted(wanted))}); give the same files and options as the run that was reviewed, "
            "and earlier --apply files before this one. With --id-column, in the review and here, decisions "
            "find their rows by name"
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


def _proposed(where: str, record: dict[str, str], classes: dict[str, int], needed: bool) -> int | None:
    """The proposed class; None in a table that was written before anything was purified."""
    if not record.get("predicted_label") and (record.get("run", "") or not needed):
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


def _confidence(where: str, text: str) -> float:
    try:
        value = float(text) if text else np.nan
    except ValueError:
        value = np.inf
    if not (np.isnan(value) or 0 <= value <= 1):
        raise UserError(f"{where}, column confidence: {text!r} is not a number from 0 to 1")
    return value
