"""Builds the table of confused classes, whose cells open the rows of a pair on the review page."""

from typing import Any

import numpy as np

from dmlp_jax.report import intervals, label_figures
from dmlp_jax.report.names import printable

# Most classes of a table; with more, the page lists the most frequent pairs.
CLASSES = 25
# Up to so many classes a cell shows the interval of its share.
INTERVALS = 10
# Longest class name in the table, characters.
_LONGEST = 24


def cells(
    given: np.ndarray, purified: np.ndarray, listed: np.ndarray, class_names: tuple[str, ...]
) -> list[dict[str, Any]] | None:
    """The rows of the table, one per purified class: shares of the labels that these rows were given.

    With 95 % Wilson intervals, which cover sampling error and assume that the purified labels are right.

    Args:
        given: class indices of all training rows [n].
        purified: likewise.
        listed: positions of the rows on the review page.
        class_names: one per class.

    Returns:
        None for more than `CLASSES` classes.
    """
    classes = len(class_names)
    if classes > CLASSES:
        return None
    names = [printable(name, _LONGEST) for name in class_names]
    counts = label_figures.count_pairs(given, purified, classes)
    there = label_figures.count_pairs(given[listed], purified[listed], classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    lower, upper = intervals.wilson(counts, np.broadcast_to(totals, counts.shape))
    return [
        {
            "name": names[of],
            "cells": [
                {
                    "given": taken,
                    "purified": of,
                    "given_name": names[taken],
                    "rows": int(counts[of, taken]),
                    "listed": int(there[of, taken]),
                    "share": 100 * shares[of, taken],
                    "lower": 100 * lower[of, taken],
                    "upper": 100 * upper[of, taken],
                    "interval": classes <= INTERVALS and bool(totals[of, 0]),
                    # Steps of a tenth, so that a style per step is enough.
                    "shade": int(np.ceil(9 * shares[of, taken])),
                }
                for taken in range(classes)
            ],
        }
        for of in range(classes)
    ]
