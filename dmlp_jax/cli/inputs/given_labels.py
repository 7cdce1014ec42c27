"""Encodes the given labels of the clean rows, of which some may be unknown."""

import numpy as np

from dmlp_jax.data import class_labels

# What stands for an unknown label in a file, besides an empty value.
_UNKNOWN = ("-1", "-1.0")


def known(labels: np.ndarray | None, rows: int, classes: tuple[str, ...] = ()) -> np.ndarray:
    """Whether each label [m] is known, neither missing nor -1; bool [m]. None is `rows` unknown labels.

    -1 is a label like others where it is one of the `classes`.
    """
    if labels is None:
        return np.zeros(rows, bool)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    return np.array(
        [
            not class_labels.is_missing(label) and ("-1" in classes or str(label).strip() not in _UNKNOWN)
            for label in labels
        ],
        bool,
    )


def fill(labels: np.ndarray, are_known: np.ndarray) -> np.ndarray:
    """Labels [m] with a known one, some row's, in place of those that are not `are_known`.

    All of them can then be encoded as labels of rows, and an error names the right row.
    """
    filled = labels.copy()
    filled[~are_known] = labels[are_known][0]
    return filled
