"""Applies the decisions of a review: reviewed rows become clean rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.data import row_subset
from dmlp_jax.errors import UserError
from dmlp_jax.report import decisions
from dmlp_jax.report.decisions import Decisions


class Reviewed(NamedTuple):
    """The rows after reviews.

    Attributes:
        rows: the input, in which the decided rows have moved from the noisy to the clean rows.
        row_numbers: number of each decided row in the file [k].
        labels: decided class indices of these rows [k], int32.
        counts: 'accepted', 'rejected', 'corrected', 'skipped' (by the last file), 'clean' (all but the
            skipped), 'random' (those of them that were drawn at random), and of the changed labels that were
            reviewed: 'changes', 'right', and their mean 'confidence' (None if no file has it).
    """

    rows: LabelledRows
    row_numbers: np.ndarray
    labels: np.ndarray
    counts: dict[str, Any]


def fold(rows: LabelledRows, paths: Sequence[Path]) -> Reviewed:
    """Applies files of decisions one after another, each to the rows that the previous one left.

    Accepted rows join the clean rows with the purified label, corrected rows with the reviewer's label,
    rejected rows with their given label, which the reviewer confirmed. Their given labels are known. Skipped
    rows stay noisy.

    Args:
        rows: as `labelled_rows.load` gave them.
        paths: files of decisions, oldest first.

    Raises:
        UserError: see `decisions.read`; or no row is left to purify.
    """
    row_numbers, labels, read = [], [], []
    for path in paths:
        found = decisions.read(path, rows.labels, rows.class_names, rows.row_numbers)
        if len(found.rows) == len(rows.labels):
            raise UserError(f"{path} decides on every row that is left; no row remains to be purified")
        row_numbers.append(rows.row_numbers[found.rows])
        labels.append(found.labels)
        # The noisy labels of the decided rows, for counting how many changes were right.
        read.append((found, rows.labels[found.rows]))
        rows = _move(rows, found)
    return Reviewed(rows, np.concatenate(row_numbers), np.concatenate(labels), _counts(read))


def _move(rows: LabelledRows, found: Decisions) -> LabelledRows:
    """Moves the decided rows from the noisy to the clean rows."""
    rest = np.setdiff1d(np.arange(len(rows.labels)), found.rows)
    before = len(rows.val_labels)
    # The file of labels holds what the decided rows were given; of earlier clean rows it may be unknown.
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
        val_given_labels=np.concatenate([given, rows.labels[found.rows]]),
        val_random=np.concatenate([random, found.random]),
        val_numbers=np.concatenate([numbers, rows.row_numbers[found.rows]]),
        true_labels=None if rows.true_labels is None else rows.true_labels[rest],
        row_numbers=rows.row_numbers[rest],
    )


def _counts(read: list[tuple[Decisions, np.ndarray]]) -> dict[str, Any]:
    kinds, labels, predicted, confidence, random = (
        np.concatenate([getattr(found, name) for found, _ in read])
        for name in ("kinds", "labels", "predicted", "confidence", "random")
    )
    changes = predicted != np.concatenate([given for _, given in read])
    known = changes & np.isfinite(confidence)
    return {
        "accepted": int(np.sum(kinds == "accept")),
        "rejected": int(np.sum(kinds == "reject")),
        "corrected": int(np.sum(kinds == "correct")),
        "skipped": read[-1][0].skipped,
        "clean": len(labels),
        "random": int(random.sum()),
        "changes": int(changes.sum()),
        "right": int(np.sum(changes & (labels == predicted))),
        "confidence": float(confidence[known].mean()) if known.any() else None,
    }
