"""What `dmlp-purify` says of rows beside their labels: duplicates, outliers, copies of clean rows."""

import numpy as np

from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.data import row_checks
from dmlp_jax.data.row_checks import RowChecks

# The search takes time in proportion to the square of the rows: some seconds for so many.
MOST_ROWS = 20_000


def find(rows: LabelledRows) -> RowChecks | None:
    """Searches the noisy rows; None where they are too many, or too few for neighbours."""
    if isinstance(rows.features, np.memmap) or not 3 <= len(rows.labels) <= MOST_ROWS:
        return None
    return row_checks.check(rows.features, rows.labels, rows.val_features)


def columns(found: RowChecks | None) -> dict[str, np.ndarray]:
    """Columns for issues.csv, [n] each, in the order of the rows; an empty dict without a search."""
    if found is None:
        return {}
    return {
        "duplicate_set": np.where(found.duplicate_set < 0, "", found.duplicate_set.astype(str)),
        "duplicate_labels_differ": found.labels_differ,
        "outlier": found.outlier,
        "copy_of_clean_row": found.clean_copy,
    }


def summary(found: RowChecks | None) -> dict[str, int] | None:
    """The counts of summary.json: rows, and the sets that duplicates form."""
    if found is None:
        return None
    several = found.duplicate_set >= 0
    return {
        "duplicates": int(several.sum()),
        "exact_duplicates": int(found.exact.sum()),
        "duplicate_sets": len(np.unique(found.duplicate_set[several])),
        "duplicates_whose_labels_differ": int(found.labels_differ.sum()),
        "outliers": int(found.outlier.sum()),
        "copies_of_clean_rows": int(found.clean_copy.sum()),
    }


def warning(found: RowChecks | None) -> str | None:
    """What is said first: training rows that are clean rows too spoil the scores on these."""
    count = 0 if found is None else int(found.clean_copy.sum())
    if not count:
        return None
    return (
        f"{count:,} training row{'s are' if count > 1 else ' is'} equal or nearly equal to clean rows, so "
        "scores on clean rows are too good. Remove them from one of the two; column copy_of_clean_row of "
        "issues.csv has them."
    )
