"""Says what `dmlp-purify` has read, and warns of features that cannot show which labels are wrong."""

from typing import Any

import numpy as np

from dmlp_jax.cli.inputs import columns
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.data import class_names

WARNING = "warning: "
# Share of the total variance from which on a single feature is reported as dominating.
ONE_FEATURE = 0.9
# Most rows that the variances are computed from.
VARIANCE_ROWS = 1000


def describe(rows: LabelledRows) -> str:
    """The lines that are printed before anything is computed; those of warnings begin with `WARNING`."""
    shown = ", ".join(rows.class_names[:8]) + (", ..." if len(rows.class_names) > 8 else "")
    lines = [
        f"{len(rows.labels):,} rows to purify and {len(rows.val_labels):,} clean ones, "
        f"{rows.features.shape[1]:,} features, {len(rows.class_names)} classes: {shown}"
    ]
    if rows.columns is not None:
        lines.append(columns.described(rows.columns, rows.left_out))
    lines += _of_label_codes(rows)
    lines += [f"{WARNING}{text}" for text in class_names.near_equal(rows.class_names)]
    if rows.file is not None and rows.file.raw is not None:
        lines += rows.file.raw.said
    lines += _of_given_labels(rows)
    lines += _of_one_feature(rows.features)
    return "\n".join(lines)


def _of_given_labels(rows: LabelledRows) -> list[str]:
    """How many given labels of the clean rows are known, and how many of these are wrong; or nothing."""
    if rows.val_given_labels is None:
        return []
    known = rows.val_given_labels >= 0
    wrong = int((rows.val_given_labels != rows.val_labels)[known].sum())
    return [
        f"{int(known.sum()):,} of {len(known):,} clean rows have a known given label; {wrong:,} are wrong"
    ]


def _of_label_codes(rows: LabelledRows) -> list[str]:
    """A warning about features that are a code of the given label; empty if there is none."""
    found = columns.telling(rows.features, rows.labels)
    if not len(found):
        return []
    names = rows.columns if rows.columns is not None and len(rows.columns) == rows.features.shape[1] else None
    shown = [str(place) if names is None else repr(names[place]) for place in found[:8]]
    counted = ", counted from 0," if names is None else ""
    return [
        f"{WARNING}feature {', '.join(shown)}{counted} tells the given label exactly, so it cannot show "
        "which labels are wrong; leave it out unless it comes from another source than the labels"
    ]


def _of_one_feature(features: Any) -> list[str]:
    """A warning about a feature of a matrix [n, d] that has nearly all the variance; empty if there is none.

    The variances are computed from a sample of the rows, without copying the matrix.
    """
    some = np.asarray(features[:: -(-len(features) // VARIANCE_ROWS)], np.float64)
    with np.errstate(invalid="ignore"):
        variances = np.var(some, axis=0)
    largest, total = int(np.argmax(variances)), float(np.sum(variances))
    # NaN compares as false here; `purify` reports where it is.
    if features.shape[1] < 2 or not variances[largest] > ONE_FEATURE * total:
        return []
    return [
        f"feature {largest}, counted from 0, has {variances[largest] / total:.1%} of the variance of all "
        "features and dominates the result; if their units differ, divide each by its standard deviation"
    ]
