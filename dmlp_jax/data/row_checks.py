"""Finds duplicates and outliers among rows, by their features: what else is wrong with data besides labels.

Distances are between centred rows of unit length, as the purifier sees them.
"""

from typing import Any, NamedTuple

import numpy as np

# Rows are nearly duplicates below this share of the median distance to the nearest neighbour; the default of
# cleanlab's Datalab.
NEAR = 0.13
# Neighbours whose mean distance tells an outlier, and the modified z-score of its logarithm from which on a
# row is one (Iglewicz and Hoaglin 1993).
NEIGHBOURS, OUTLYING = 10, 3.5
# A median absolute deviation of a normal distribution is this share of its standard deviation.
_NORMAL = 0.6745


class RowChecks(NamedTuple):
    """What is found about rows, [n] each.

    Attributes:
        duplicate_set: number of the set of equal or nearly equal rows, counted from 0; -1 for single rows.
        exact: whether another row is equal to the last digit.
        labels_differ: whether the rows of the set have different given labels.
        outlier: whether the row is far from its nearest neighbours, as hardly any other is.
        clean_copy: whether the row is equal or nearly equal to a clean row.
    """

    duplicate_set: np.ndarray
    exact: np.ndarray
    labels_differ: np.ndarray
    outlier: np.ndarray
    clean_copy: np.ndarray


def check(features: Any, labels: np.ndarray, clean: Any = None) -> RowChecks:
    """Searches for duplicates and outliers; takes time and no memory in proportion to n^2.

    Args:
        features: of the training rows [n, d].
        labels: their given class indices [n].
        clean: features of the clean rows [m, d], or None.
    """
    # scikit-learn takes a second to import, which --help need not wait for.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors

    count = len(features)
    raw = np.asarray(features[:], np.float32)
    mean = raw.mean(axis=0)
    rows = _unit(raw - mean)
    exact = _exact(raw)
    neighbours = min(NEIGHBOURS, count - 1)
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(rows)
    distance, index = search.kneighbors()
    near = NEAR * float(np.median(distance[:, 0]))
    first = np.repeat(np.arange(count), neighbours)
    close = (distance <= near).reshape(-1)
    # Equal rows whose number exceeds that of the neighbours still form a chain.
    first, second = first[close], index.reshape(-1)[close]
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    of_component = connected_components(graph, directed=False)[1]
    number, size = np.unique(of_component, return_inverse=True, return_counts=True)[1:]
    several = size[number] > 1
    duplicate_set = np.full(count, -1)
    duplicate_set[several] = np.unique(of_component[several], return_inverse=True)[1]
    differ = np.zeros(count, bool)
    if several.any():
        low = np.full(len(size), np.iinfo(np.int64).max)
        high = np.full(len(size), -1)
        np.minimum.at(low, number, labels)
        np.maximum.at(high, number, labels)
        differ = several & (low != high)[number]
    copy = np.zeros(count, bool)
    if clean is not None and len(clean):
        others = _unit(np.asarray(clean[:], np.float32) - mean)
        nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others)
        copy = nearest.kneighbors(rows)[0][:, 0] <= near
    return RowChecks(duplicate_set, exact, differ, _outlying(distance.mean(axis=1)), copy)


def _exact(rows: np.ndarray) -> np.ndarray:
    """Whether another row [n, d] has the same numbers, [n]."""
    as_bytes = np.ascontiguousarray(rows + 0.0).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    _, number, size = np.unique(as_bytes.reshape(-1), return_inverse=True, return_counts=True)
    return size[number] > 1


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _outlying(distance: np.ndarray) -> np.ndarray:
    """Rows whose distance [n] is far above the others'."""
    logs = np.log(np.maximum(distance, np.finfo(np.float32).tiny))
    middle = np.median(logs)
    spread = np.median(np.abs(logs - middle))
    if spread == 0:
        return np.zeros(len(distance), bool)
    return _NORMAL * (logs - middle) / spread > OUTLYING
