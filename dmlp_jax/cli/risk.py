"""Serves --accept-risk: how many reviewed rows to set aside, and what to say about the accepted labels."""

import math
from typing import Any

import numpy as np

from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.purifier.accept import Accepted
from dmlp_jax.purifier.calibration.draw import MOST_SHARE

# Rows are set aside until so many mistakes among them could be borne: more make the number of accepted labels
# depend less on chance, but leave less to learn from.
MISTAKES = 25


def share(rows: LabelledRows, risk: float | None) -> float | None:
    """The share of the reviewed rows to set aside, see `purify`; None where no share would be enough.

    So many that `MISTAKES` of them could be wrong at this risk, but at most half.

    Args:
        rows: the noisy and clean rows.
        risk: share of accepted labels that may be wrong; None without --accept-risk.
    """
    usable = _usable(rows)
    if risk is None or int(MOST_SHARE * usable) < _least(risk):
        return None
    return min(MOST_SHARE, MISTAKES / (risk * usable))


def summary(rows: LabelledRows, accepted: Accepted, risk: float) -> dict[str, Any]:
    """What summary.json says: 'risk', 'rows' (how many), 'calibration_rows', 'why_none' (a text or None)."""
    count = int(np.sum(accepted.rows))
    calibration_rows = max(int(accepted.calibration_rows), 0)
    found = {"risk": risk, "rows": count, "calibration_rows": calibration_rows, "why_none": None}
    if count:
        return found
    if calibration_rows:
        return found | {"why_none": accepted.reason}
    usable = _usable(rows)
    needed = math.ceil(_least(risk) / MOST_SHARE)
    why = (
        f"it takes at least {needed:,} reviewed rows that were drawn at random and whose label before review "
        f"is known, of classes with two or more; there are {usable:,}, so {needed - usable:,} more are needed"
    )
    return found | {"why_none": why}


def sentence(contents: dict[str, Any]) -> str | None:
    """The line that the command prints, of the contents of summary.json; None without --accept-risk."""
    found = contents.get("accepted")
    if found is None:
        return None
    risk, count, rows = f"{100 * found['risk']:g} %", found["rows"], contents["rows"]["train"]
    if not count:
        return f"no label is accepted at a risk of {risk}: {found['why_none']}"
    return (
        f"{count:,} of {rows:,} labels are accepted at a risk of {risk}: at most {risk} of these are "
        f"expected to be wrong, by {found['calibration_rows']:,} reviewed rows set aside"
    )


def _usable(rows: LabelledRows) -> int:
    """Number of clean rows that could be set aside."""
    if rows.val_given_labels is None:
        return 0
    usable = rows.val_given_labels >= 0
    if rows.val_random is not None:
        usable = usable & rows.val_random
    return int(np.sum(usable & (np.bincount(rows.val_labels)[rows.val_labels] > 1)))


def _least(risk: float) -> int:
    """Calibration rows without which nothing can be accepted."""
    return math.ceil(1 / risk - 1 - 1e-9)
