"""What `dmlp-purify` says of rows beside their labels: duplicates, outliers, copies of clean rows."""

import numpy as np

from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.data import row_checks
from dmlp_jax.data.row_checks import RowChecks

# Of n rows of d features the search of all pairs takes time in proportion to n^2 (d + 100), as measured: two
# minutes of two processors at most. So many are 200,000 rows of 64 features, 100,000 of 512, 40,000 of 4,096.
MOST_WORK, _OVERHEAD = 6.6e12, 100
# From this work on, about ten seconds, the search is announced.
_LONG = 6e11


def find(rows: LabelledRows) -> RowChecks | None:
    """Searches the noisy rows: all pairs, or equal rows only where there are too many pairs.

    None where rows are too few for neighbours.
    """
    count, width = rows.features.shape
    if count < 3:
        return None
    work = float(count) * (count + len(rows.val_labels)) * (width + _OVERHEAD)
    if work > MOST_WORK or not isinstance(rows.features, np.ndarray) or isinstance(rows.features, np.memmap):
        return row_checks.check_equal(rows.features, rows.labels, rows.val_features)
    if work > _LONG:
        print(f"searching {count:,} rows for near duplicates and outliers ...", flush=True)
    return row_checks.check(rows.features, rows.labels, rows.val_features)


def columns(found: RowChecks | None) -> dict[str, np.ndarray]:
    """Columns for issues.csv, [n] each, in the order of the rows; an empty dict without a search."""
    if found is None:
        return {}
    return {
        "duplicate_set": np.where(found.duplicate_set < 0, "", found.duplicate_set.astype(str)),
        "duplicate_labels_differ": found.labels_differ,
        **({} if found.outlier is None else {"outlier": found.outlier}),
        "copy_of_clean_row": found.clean_copy,
    }


def summary(found: RowChecks | None) -> dict[str, int | None] | None:
    """The counts of summary.json: rows, and the sets that duplicates form.

    'outliers' is None where only equal rows were looked for.
    """
    if found is None:
        return None
    several = found.duplicate_set >= 0
    return {
        "duplicates": int(several.sum()),
        "exact_duplicates": int(found.exact.sum()),
        "duplicate_sets": len(np.unique(found.duplicate_set[several])),
        "duplicates_whose_labels_differ": int(found.labels_differ.sum()),
        "outliers": None if found.outlier is None else int(found.outlier.sum()),
        "copies_of_clean_rows": int(found.clean_copy.sum()),
    }


def warning(found: RowChecks | None) -> str | None:
    """What is said first: training rows that are clean rows too spoil the scores on these."""
    count = 0 if found is None else int(found.clean_copy.sum())
    if found is None or not count:
        return None
    alike = "equal" if found.outlier is None else "equal or nearly equal"
    return (
        f"{count:,} training row{'s are' if count > 1 else ' is'} {alike} to clean rows, so "
        "scores on clean rows are too good. Remove them from one of the two; column copy_of_clean_row of "
        "issues.csv has them."
    )
