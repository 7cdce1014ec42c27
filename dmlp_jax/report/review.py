"""Selects the rows of the review page, suspicious and random ones, and packs them for its scripts."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmlp_jax.data.types import Problem
from dmlp_jax.report import contents, decisions, evidence, thumbnails
from dmlp_jax.report.clean_rows import CleanRows
from dmlp_jax.report.names import printable
from dmlp_jax.report.row_contents import RowContents

# Most rows that a page lists; 50,000 are about a megabyte without their contents.
ROWS = 50_000
# Rows of the page that are drawn at random: only these show how frequent mistakes are.
SAMPLE = 20
# Longest name of a row on a page, characters.
_LONGEST = 300
# Longest text on a card that is shown without scripts, characters.
_EXCERPT = 220


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
    held: RowContents | None = None,
    clean: CleanRows | None = None,
    calibrated: bool = True,
) -> dict[str, Any]:
    """The data that the scripts of the page read; lists have an entry per row of `order`.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        order: positions of the rows listed, see `suspicious_rows`.
        random: places in `order` of rows that were drawn at random.
        row_index: number of each training row in the user's data [n].
        row_names: name of each training row [n], or None.
        held: what the page holds of these rows.
        clean: the reviewed rows, for the names of those that `held` has.
        calibrated: whether confidence is a probability that was checked on clean rows, not only a score.
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
        "calibrated": calibrated,
        "confidence": _ten_thousandths(purified["confidence"][order]),
        "quality": _ten_thousandths(quality[order]),
        "random": random.tolist(),
        "true": None if true is None else true[order].tolist(),
        "names": None if row_names is None else [str(row_names[row])[:_LONGEST] for row in order],
        "columns": [] if held is None else list(held.columns),
        "text": None if held is None else held.text,
        "reviewed": None if held is None or held.near is None else _reviewed(problem, held, clean),
    }


def _reviewed(problem: Problem, held: RowContents, clean: CleanRows | None) -> dict[str, Any]:
    """The reviewed rows that the page holds, and which of them are nearest to each listed row."""
    assert held.near is not None
    names = None if clean is None or clean.names is None else clean.names
    given = problem.val_given_labels
    return {
        "neighbours": held.near.shape[1],
        "near": evidence.packed(held.near),
        "label": np.asarray(problem.val_labels)[held.clean].tolist(),
        "given": None if given is None else np.asarray(given)[held.clean].tolist(),
        "names": None if names is None else [str(names[row])[:_LONGEST] for row in held.clean],
    }


def suspects(
    problem: Problem,
    purified: dict[str, np.ndarray],
    order: np.ndarray,
    row_names: Sequence[Any],
    held: RowContents,
    limit: int,
) -> list[dict[str, Any]]:
    """The first rows of the list for the template.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        order: positions of the rows listed.
        row_names: name of each training row [n].
        held: what the page holds of the rows listed.
        limit: most rows.
    """
    names = tuple(map(printable, problem.class_names))
    true = problem.true_labels

    numbered = all(isinstance(row_names[row], int) for row in order[:limit])

    def excerpt(entry: int) -> str | None:
        if held.text is None or not held.values[entry]:
            return None
        return printable(json.loads(held.values[entry])[held.text], _EXCERPT)

    return [
        {
            "entry": entry,
            "row": f"row {row_names[row]}" if numbered else row_names[row],
            "image": thumbnails.data_uri(held.pictures[entry]),
            "text": excerpt(entry),
            "given": names[problem.given_labels[row]],
            "purified": names[purified["labels"][row]],
            "changed": bool(purified["changed"][row]),
            "confidence": float(purified["confidence"][row]),
            "true": None if true is None else names[true[row]],
            "right": None if true is None else bool(true[row] == purified["labels"][row]),
        }
        for entry, row in enumerate(order[:limit])
    ]


def _ten_thousandths(shares: np.ndarray) -> list[int]:
    """Shares in units of 0.0001: integers are shorter than decimals."""
    return np.rint(10_000 * shares.astype(np.float64)).astype(int).tolist()
