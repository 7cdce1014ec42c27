"""Builds the rows of the report's tables."""

from typing import Any

import numpy as np

from dmlp_jax.report import accuracies, intervals, label_figures
from dmlp_jax.report.names import of_source, printable


def sources(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per source of labels: their accuracy, that on held-out clean rows, and that of networks.

    Args:
        result: the contents of summary.json.
    """
    names = [name for name in dict.fromkeys([*result["labels"], *result["test"]]) if name != "true"]
    names += ["true"] if "true" in result["test"] else []
    known = result["noise"]["measured_flip_rate"] is not None
    return [
        {
            "name": of_source(name),
            "labels": 1.0 if name == "true" and known else result["labels"].get(name),
            "held_out": accuracies.cell(result, name),
            **{key: result["test"].get(name, {}).get(key) for key in ("best", "last", "selected")},
        }
        for name in names
    ]


def flows(
    given: np.ndarray, purified: np.ndarray, class_names: tuple[str, ...], limit: int = 10
) -> list[dict[str, Any]]:
    """The most frequent changes of a label, with their share of the purified class.

    The 95 % Wilson interval of the share covers sampling error and assumes that the purified labels are
    right.

    Args:
        given: [n].
        purified: [n].
        class_names: one per class.
        limit: most changes that are listed.
    """
    counts = label_figures.count_pairs(given, purified, len(class_names))
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    found = []
    for place in np.argsort(-counts, axis=None, kind="stable")[:limit]:
        of, taken = np.unravel_index(place, counts.shape)
        if not counts[of, taken]:
            break
        lower, upper = intervals.wilson(counts[of, taken], totals[of])
        found.append(
            {
                "given": printable(class_names[taken]),
                "purified": printable(class_names[of]),
                "given_class": int(taken),
                "purified_class": int(of),
                "rows": int(counts[of, taken]),
                "share": counts[of, taken] / totals[of],
                "lower": float(lower),
                "upper": float(upper),
            }
        )
    return found
