"""Selects the rows of the review page, suspicious and random ones, and packs them for its scripts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dmlp_jax.data.types import Problem
from dmlp_jax.report import contents, decisions, thumbnails
from dmlp_jax.report.names import printable

# Most rows that a page lists; 50,000 are about a megabyte.
ROWS = 50_000
# Most rows with a picture, whatever the setting `report.gallery` is.
GALLERY = 1000
# Rows of the page that are drawn at random: only these show how frequent mistakes are.
SAMPLE = 20
# Longest name of a row on a page, characters.
_LONGEST = 300


def suspicious_rows(quality: np.ndarray, limit: int = ROWS) -> np.ndarray:
    """Positions of at most `limit` rows, the most suspicious first, in the order of issues.csv.

    Args:
        quality: how likely the given labels are right [n], see `PurifyResult.label_quality`.
        limit: most rows.
    """
    return np.argsort(quality, kind="stable")[:limit]


def with_random_rows(order: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows listed, with random ones added at the end where they are not among them, and where these are.

    The draw depends on the number of rows only: another run on the same data has the same random rows.

    Args:
        order: positions of the suspicious rows.
        count: number of training rows.

    Returns:
        Positions of all rows listed, and the places in it of the random ones, at most `SAMPLE`.
    """
    drawn = np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False)
    order = np.concatenate([order, np.setdiff1d(drawn, order)])
    return order, np.flatnonzero(np.isin(order, drawn))


def payload(
    problem: Problem,
    purified: dict[str, np.ndarray],
    order: np.ndarray,
    random: np.ndarray,
    row_index: np.ndarray,
    row_names: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """The data that the scripts of the page read; lists have an entry per row of `order`.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        order: positions of the rows listed, see `suspicious_rows`.
        random: places in `order` of rows that were drawn at random.
        row_index: number of each training row in the user's data [n].
        row_names: name of each training row [n], or None.
    """
    true = problem.true_labels
    quality = contents.label_quality(purified, problem.given_labels)
    data = decisions.fingerprint(problem.given_labels, problem.class_names, row_index)
    return {
        "run": decisions.run_fingerprint(data, purified["labels"]),
        "total": len(problem.given_labels),
        "changed": int(purified["changed"][order].sum()),
        "classes": list(problem.class_names),
        "index": row_index[order].tolist(),
        "given": problem.given_labels[order].tolist(),
        "purified": purified["labels"][order].tolist(),
        "confidence": _ten_thousandths(purified["confidence"][order]),
        "quality": _ten_thousandths(quality[order]),
        "random": random.tolist(),
        "true": None if true is None else true[order].tolist(),
        "names": None if row_names is None else [str(row_names[row])[:_LONGEST] for row in order],
    }


def suspects(
    problem: Problem,
    purified: dict[str, np.ndarray],
    order: np.ndarray,
    entries: np.ndarray,
    row_names: Sequence[Any],
    image_of: Callable[[int], np.ndarray | None],
) -> list[dict[str, Any]]:
    """Rows of the page for the template, with pictures until `thumbnails.BUDGET` is spent.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        order: positions of the rows listed.
        entries: places in `order` of the rows wanted.
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
            "entry": int(entry),
            "row": row_names[row],
            "image": picture(row),
            "given": names[problem.given_labels[row]],
            "purified": names[purified["labels"][row]],
            "changed": bool(purified["changed"][row]),
            "confidence": float(purified["confidence"][row]),
            "true": None if true is None else names[true[row]],
            "right": None if true is None else bool(true[row] == purified["labels"][row]),
        }
        for entry, row in zip(entries, order[entries], strict=True)
    ]


def _ten_thousandths(shares: np.ndarray) -> list[int]:
    """Shares in units of 0.0001: integers are shorter than decimals."""
    return np.rint(10_000 * shares.astype(np.float64)).astype(int).tolist()
