"""Makes the corrected table: the user's own rows, all of them and in their order, with purified labels."""

from typing import Any

import numpy as np

from dmlp_jax.cli.inputs import own_table
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.cli.inputs.own_table import OwnTable
from dmlp_jax.cli.inputs.reviewed_rows import Reviewed

STATUS = ("kept", "changed", "clean", "reviewed", "unreadable")


def columns(
    rows: LabelledRows, result: Any, reviewed: Reviewed | None = None, accepted: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The new columns, one value per row of the file.

    Args:
        rows: the noisy and clean rows, after reviews.
        result: result of `purify`: its labels, confidence, changed and label_quality [n].
        reviewed: decisions of reviews.
        accepted: whether the label of each noisy row can be taken at the stated risk [n], if that was asked.

    Returns:
        'purified_label', the class name; 'confidence', that it is right, NaN where nothing says;
        'label_quality', how likely the given label is right, 0 or 1 where the right one is known; 'status',
        one of `STATUS`; and 'accepted' with `accepted`, true for rows whose right label is known.
    """
    assert rows.file is not None
    given = rows.file.given
    labels, status = given.copy(), np.full(len(given), "kept", dtype=object)
    confidence, quality = np.full(len(given), np.nan), np.full(len(given), np.nan)
    taken = np.zeros(len(given), bool)
    noisy = rows.row_numbers
    labels[noisy] = result.labels
    status[noisy] = np.where(result.changed, "changed", "kept")
    confidence[noisy], quality[noisy] = result.confidence, result.label_quality
    if accepted is not None:
        taken[noisy] = accepted
    # The clean rows that were named come first, then those of reviews.
    known = np.full(len(given), -1)
    clean = rows.file.clean
    known[clean] = rows.val_labels[: len(clean)]
    status[clean] = "clean"
    before = np.full(len(given), -1)
    if rows.val_given_labels is not None:
        before[clean] = rows.val_given_labels[: len(clean)]
    if reviewed is not None:
        known[reviewed.row_numbers], status[reviewed.row_numbers] = reviewed.labels, "reviewed"
        before[reviewed.row_numbers] = given[reviewed.row_numbers]
    is_known = known >= 0
    labels[is_known], confidence[is_known], taken[is_known] = known[is_known], 1.0, True
    was_given = is_known & (before >= 0)
    quality[was_given] = (before == known)[was_given]
    if rows.file.raw is not None:
        status[list(rows.file.raw.unreadable)] = "unreadable"
    names = np.array(rows.class_names, dtype=object)
    found = {
        "purified_label": names[labels],
        "confidence": confidence,
        "label_quality": quality,
        "status": status,
    }
    return found if accepted is None else found | {"accepted": taken}


def table(rows: LabelledRows) -> OwnTable:
    """The table that the columns are added to: the user's own, or one made of names and given labels."""
    assert rows.file is not None
    if rows.file.raw is not None and rows.file.raw.table is not None:
        return rows.file.raw.table
    if rows.file.table is not None:
        return own_table.read(rows.file.table)
    names = np.array(rows.class_names, dtype=object)[rows.file.given]
    if rows.ids is not None:
        kind = "image" if rows.file.raw is not None else "id"
        return own_table.from_columns({kind: rows.ids, "given_label": names})
    return own_table.from_columns({"row": np.arange(rows.file_rows), "given_label": names})
