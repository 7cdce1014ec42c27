"""Selects the rows of the review page, the most suspicious first, and packs them for its scripts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dmlp_jax.data.types import Problem
from dmlp_jax.report import decisions, thumbnails
from dmlp_jax.report.names import printable

# Most rows that a page lists; 50,000 are about a megabyte.
ROWS = 50_000
# Most rows with a picture, whatever the setting `report.gallery` is.
GALLERY = 1000
# Longest name of a row on a page, characters.
_LONGEST = 300


def suspicious_rows(purified: dict[str, np.ndarray], limit: int = ROWS) -> np.ndarray:
    """Positions of at most `limit` rows, the most suspicious first.

    Changed labels come first, in descending order of confidence, then kept labels in ascending order.

    Args:
        purified: 'changed' and 'confidence', [n].
        limit: most rows.
    """
    changed, confidence = purified["changed"], purified["confidence"]
    return np.lexsort((np.where(changed, -confidence, confidence), ~changed))[:limit]


def payload(
    problem: Problem,
    purified: dict[str, np.ndarray],
    order: np.ndarray,
    row_index: np.ndarray,
    row_names: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """The data that the scripts of the page read; lists have an entry per row of `order`.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        order: positions of the rows listed, see `suspicious_rows`.
        row_index: number of each training row in the user's data [n].
        row_names: name of each training row [n], or None.
    """
    true = problem.true_labels
    data = decisions.fingerprint(problem.given_labels, problem.class_names, row_index)
    return {
        "run": decisions.run_fingerprint(data, purified["labels"]),
        "total": len(problem.given_labels),
        "changed": int(purified["changed"][order].sum()),
        "classes": list(problem.class_names),
        "index": row_index[order].tolist(),
        "given": problem.given_labels[order].tolist(),
        "purified": purified["labels"][order].tolist(),
        # In units of 0.0001: integers are shorter than decimals.
        "confidence": np.rint(10_000 * purified["confidence"][order].astype(np.float64)).astype(int).tolist(),
        "true": None if true is None else true[order].tolist(),
        "names": None if row_names is None else [str(row_names[row])[:_LONGEST] for row in order],
    }


def suspects(
    problem: Problem,
    purified: dict[str, np.ndarray],
    rows: np.ndarray,
    row_names: Sequence[Any],
    image_of: Callable[[int], np.ndarray | None],
) -> list[dict[str, Any]]:
    """The rows of the gallery for the template, with pictures until `thumbnails.BUDGET` is spent.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        rows: positions of the gallery's rows.
        row_names: name of each training row [n].
        image_of: the picture of a training row, or None where it has none.
    """
    names = tuple(map(printable, problem.class_names))
    true, budget = problem.true_labels, thumbnails.Budget()

    def picture(row):
        uri = thumbnails.data_uri(image_of(int(row)))
        return uri if uri is not None and budget.take(len(uri)) else None

    return [
        {
            "row": row_names[row],
            "image": picture(row),
            "given": names[problem.given_labels[row]],
            "purified": names[purified["labels"][row]],
            "confidence": float(purified["confidence"][row]),
            "true": None if true is None else names[true[row]],
            "right": None if true is None else bool(true[row] == purified["labels"][row]),
        }
        for row in rows
    ]
