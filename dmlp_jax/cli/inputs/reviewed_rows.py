"""Applies the decisions of a review: reviewed rows become clean rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import review_conflicts
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.cli.inputs.review_conflicts import Agreed
from dmlp_jax.data import row_subset
from dmlp_jax.errors import UserError
from dmlp_jax.interop.label_studio import is_label_studio, label_studio_decisions
from dmlp_jax.report import decisions
from dmlp_jax.report.decisions import Decisions


class Conflict(NamedTuple):
    """A row on which decisions differ.

    Attributes:
        row_number: its number in the file.
        given: its given class index, when it was reviewed.
        predicted: the class index that was proposed last.
        opinions: the decisions in words.
    """

    row_number: int
    given: int
    predicted: int
    opinions: str


class Reviewed(NamedTuple):
    """The rows after reviews.

    Attributes:
        rows: the input, in which the decided rows have moved from the noisy to the clean rows.
        row_numbers: number of each decided row in the file [k].
        labels: decided class indices of these rows [k], int32.
        counts: 'accepted', 'rejected', 'corrected', 'skipped' (by the last file), 'clean' (all but the
            skipped), 'random' (those of them that were drawn at random), 'conflicts' (rows on which decisions
            differ, which stay as they were), and of the changed labels that were reviewed: 'changes',
            'right', and their mean 'confidence' (None if no file has it).
        notes: what to say of files that are not filled in to the end or do not fit to the end, in sentences.
        conflicts: the rows on which decisions differ.
        run: fingerprint of the noisy rows before the review, see `decisions.fingerprint`.
    """

    rows: LabelledRows
    row_numbers: np.ndarray
    labels: np.ndarray
    counts: dict[str, Any]
    notes: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    run: str = ""


def fold(rows: LabelledRows, paths: Sequence[Path]) -> Reviewed:
    """Applies files of decisions.

    A file may belong to the rows as they are, or to those that the files before it left. Accepted rows join
    the clean rows with the purified label, corrected rows with the reviewer's label, rejected rows with their
    given label, which the reviewer confirmed. Their given labels are known. Skipped rows stay noisy, and so
    do rows on which decisions differ. Where rows have names, decisions find their rows by these.

    Args:
        rows: as `labelled_rows.load` gave them.
        paths: files of decisions, oldest first.

    Raises:
        UserError: see `decisions.read`; or no row is left to purify.
    """
    runs = [decisions.fingerprint(rows.labels, rows.class_names, rows.row_numbers)]
    ids = None if rows.ids is None else rows.ids[rows.row_numbers]
    read: list[Decisions] = []
    notes: list[str] = []
    agreed = review_conflicts.merge(read)
    for path in paths:
        text = label_studio_decisions(path) if is_label_studio(path) else None
        found = decisions.read(
            path, rows.labels, rows.class_names, rows.row_numbers, ids=ids, runs=runs, text=text
        )
        read.append(found)
        notes += _notes(path, found)
        agreed = review_conflicts.merge(read)
        if len(agreed.rows) == len(rows.labels):
            raise UserError(f"{path} decides on every row that is left; no row remains to be purified")
        rest = np.setdiff1d(np.arange(len(rows.labels)), agreed.rows)
        runs.append(decisions.fingerprint(rows.labels[rest], rows.class_names, rows.row_numbers[rest]))
    conflicts = tuple(
        Conflict(
            int(rows.row_numbers[row]),
            int(read[opinions[-1].file].given[opinions[-1].place]),
            int(read[opinions[-1].file].predicted[opinions[-1].place]),
            review_conflicts.in_words(opinions, read, paths, rows.class_names),
        )
        for row, opinions in sorted(agreed.conflicts.items())
    )
    return Reviewed(
        rows=_move(rows, agreed),
        row_numbers=rows.row_numbers[agreed.rows],
        labels=agreed.labels,
        counts=_counts(agreed, read[-1].skipped),
        notes=tuple(notes),
        conflicts=conflicts,
        run=runs[0],
    )


def _notes(path: Path, found: Decisions) -> list[str]:
    """What is missing in a file of decisions, or does not fit the rows any more; empty if nothing is."""
    notes = []
    if found.absent:
        notes.append(
            f"{path}: {found.absent:,} decisions are on rows that are clean already or not in the table any "
            "more, by their names, and change nothing"
        )
    if found.relabelled:
        notes.append(
            f"{path}: {found.relabelled:,} rows have been given another label since they were reviewed; the "
            "decision counts, and what they were given before it"
        )
    if not found.undecided:
        return notes
    text = f"{path}: {found.undecided:,} rows are not decided and stay as they were"
    if found.undecided_random:
        text += (
            f"; {found.undecided_random:,} of them were drawn at random, and until all of those are decided "
            "none counts towards accuracies"
        )
    return [*notes, text]


def _move(rows: LabelledRows, found: Agreed) -> LabelledRows:
    """Moves the decided rows from the noisy to the clean rows."""
    rest = np.setdiff1d(np.arange(len(rows.labels)), found.rows)
    before = len(rows.val_labels)
    # What the decided rows were given is known; of earlier clean rows it may be unknown.
    given = np.full(before, -1, np.int32) if rows.val_given_labels is None else rows.val_given_labels
    random = np.ones(before, bool) if rows.val_random is None else rows.val_random
    numbers = np.full(before, -1) if rows.val_numbers is None else rows.val_numbers
    return rows._replace(
        features=row_subset.take_rows(rows.features, rest),
        labels=rows.labels[rest],
        val_features=np.concatenate(
            [np.asarray(rows.val_features[:]), np.asarray(rows.features[found.rows])]
        ),
        val_labels=np.concatenate([rows.val_labels, found.labels]),
        val_given_labels=np.concatenate([given, found.given]),
        val_random=np.concatenate([random, found.random]),
        val_numbers=np.concatenate([numbers, rows.row_numbers[found.rows]]),
        true_labels=None if rows.true_labels is None else rows.true_labels[rest],
        row_numbers=rows.row_numbers[rest],
        votes=None if rows.votes is None else rows.votes[rest],
        val_votes=_join_votes(rows, found.rows),
    )


def _join_votes(rows: LabelledRows, decided: np.ndarray) -> np.ndarray | None:
    """Labels that annotators gave to the clean rows, decided ones included."""
    if rows.votes is None:
        return None
    before = rows.val_votes
    if before is None:
        before = np.full((len(rows.val_labels), rows.votes.shape[1]), -1, np.int32)
    return np.concatenate([before, rows.votes[decided]])


def _counts(agreed: Agreed, skipped: int) -> dict[str, Any]:
    changes = agreed.predicted != agreed.given
    known = changes & np.isfinite(agreed.confidence)
    return {
        "accepted": int(np.sum(agreed.kinds == "accept")),
        "rejected": int(np.sum(agreed.kinds == "reject")),
        "corrected": int(np.sum(agreed.kinds == "correct")),
        "skipped": skipped,
        "clean": len(agreed.labels),
        "random": int(agreed.random.sum()),
        "conflicts": len(agreed.conflicts),
        "changes": int(changes.sum()),
        "right": int(np.sum(changes & (agreed.labels == agreed.predicted))),
        "confidence": float(agreed.confidence[known].mean()) if known.any() else None,
    }
