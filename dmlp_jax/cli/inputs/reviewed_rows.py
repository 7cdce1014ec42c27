"""Decisions of a review folded back into a labelling problem: decided rows become clean rows."""

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
    """A problem after reviews.

    Attributes:
        rows: the problem without the decided rows, which stand among its clean rows.
        row_numbers: of each decided row in the file, [k].
        labels: their decided class indices, [k], int32.
        counts: 'accepted', 'rejected', 'corrected', 'skipped' (by the last file), 'clean' (all but the
            skipped), and of the changed labels that were judged: 'changes', 'right', and their mean
            'confidence' (None where no file tells).
    """

    rows: LabelledRows
    row_numbers: np.ndarray
    labels: np.ndarray
    counts: dict[str, Any]


def fold(rows: LabelledRows, paths: Sequence[Path]) -> Reviewed:
    """Folds files of decisions in, one after another, each on what the one before left.

    Accepted rows join the clean rows with the purified label, corrected ones with the human's, rejected ones
    with their given label, since a human looked. Skipped rows stay as they were.

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
            raise UserError(f"{path} decides on every row that is left; there is nothing to purify")
        row_numbers.append(rows.row_numbers[found.rows])
        labels.append(found.labels)
        # What the noisy source said, for the judgement of changes.
        read.append((found, rows.labels[found.rows]))
        rows = _move(rows, found)
    return Reviewed(rows, np.concatenate(row_numbers), np.concatenate(labels), _counts(read))


def _move(rows: LabelledRows, found: Decisions) -> LabelledRows:
    """Decided rows go from the noisy to the clean ones."""
    rest = np.setdiff1d(np.arange(len(rows.labels)), found.rows)
    given = rows.val_given_labels
    return rows._replace(
        features=row_subset.take_rows(rows.features, rest),
        labels=rows.labels[rest],
        val_features=np.concatenate(
            [np.asarray(rows.val_features[:]), np.asarray(rows.features[found.rows])]
        ),
        val_labels=np.concatenate([rows.val_labels, found.labels]),
        val_given_labels=None if given is None else np.concatenate([given, rows.labels[found.rows]]),
        true_labels=None if rows.true_labels is None else rows.true_labels[rest],
        row_numbers=rows.row_numbers[rest],
    )


def _counts(read: list[tuple[Decisions, np.ndarray]]) -> dict[str, Any]:
    kinds, labels, predicted, confidence = (
        np.concatenate([getattr(found, name) for found, _ in read])
        for name in ("kinds", "labels", "predicted", "confidence")
    )
    changes = predicted != np.concatenate([given for _, given in read])
    known = changes & np.isfinite(confidence)
    return {
        "accepted": int(np.sum(kinds == "accept")),
        "rejected": int(np.sum(kinds == "reject")),
        "corrected": int(np.sum(kinds == "correct")),
        "skipped": read[-1][0].skipped,
        "clean": len(labels),
        "changes": int(changes.sum()),
        "right": int(np.sum(changes & (labels == predicted))),
        "confidence": float(confidence[known].mean()) if known.any() else None,
    }
