"""Finds duplicates and outliers among rows, by their features: what else is wrong with data besides labels.

Distances are between centred rows of unit length, as the purifier sees them. Of equal rows one takes part in
distances, so that copies neither hide an outlier nor move the median distance.
"""

from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.data import equal_rows
from dmlp_jax.data.equal_rows import EqualRows

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
        outlier: whether the row is far from its nearest neighbours, as hardly any other is; None where only
            equal rows were looked for.
        clean_copy: whether the row is equal or nearly equal to a clean row.
    """

    duplicate_set: np.ndarray
    exact: np.ndarray
    labels_differ: np.ndarray
    outlier: np.ndarray | None
    clean_copy: np.ndarray


def check(features: Any, labels: np.ndarray, clean: Any = None) -> RowChecks:
    """Searches for duplicates and outliers; takes time, but no memory, in proportion to n^2 d.

    Args:
        features: of the training rows [n, d].
        labels: their given class indices [n].
        clean: features of the clean rows [m, d], or None.
    """
    raw = np.asarray(features[:], np.float32)
    equal = equal_rows.find(raw)
    mean = raw.mean(axis=0)
    rows = _unit(raw[equal.first] - mean)
    distance, index = _neighbours(rows)
    near = NEAR * float(np.median(distance[:, 0])) if distance.size else 0.0
    copy = np.zeros(len(rows), bool)
    if clean is not None and len(clean):
        copy = _nearest(rows, _unit(np.asarray(clean[:], np.float32) - mean)) <= near
    sets = _components(distance <= near, index)
    outlier = _outlying(distance.mean(axis=1)) if distance.size else np.zeros(len(rows), bool)
    found = _duplicates(sets[equal.number], equal, labels)
    return found._replace(outlier=outlier[equal.number], clean_copy=copy[equal.number])


def check_equal(features: Any, labels: np.ndarray, clean: Any = None) -> RowChecks:
    """Searches for equal rows only, in one pass over rows that may be on disk; arguments as in `check`."""
    equal = equal_rows.find(features)
    found = _duplicates(equal.number, equal, labels)
    if clean is None or not len(clean):
        return found
    known = np.isin(equal.hashes, equal_rows.hashes(clean))
    return found._replace(clean_copy=known[equal.number])


def _duplicates(number: np.ndarray, equal: EqualRows, labels: np.ndarray) -> RowChecks:
    """What the sets `number` [n] of (nearly) equal rows say; of outliers and clean rows nothing is known."""
    count = len(number)
    size = np.bincount(number)
    several = size[number] > 1
    duplicate_set = np.full(count, -1)
    duplicate_set[several] = np.unique(number[several], return_inverse=True)[1]
    low = np.full(len(size), np.iinfo(np.int64).max)
    high = np.full(len(size), -1)
    np.minimum.at(low, number, labels)
    np.maximum.at(high, number, labels)
    differ = several & (low != high)[number]
    return RowChecks(duplicate_set, equal.size[equal.number] > 1, differ, None, np.zeros(count, bool))


def _neighbours(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers of the nearest other rows of rows [u, d], [u, k]; k is 0 for a single row."""
    # scikit-learn takes a second to import, which --help need not wait for.
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(rows) - 1)
    if not count:
        return np.zeros((len(rows), 0)), np.zeros((len(rows), 0), np.int64)
    # Brute force works in blocks that fit into the cache; trees are no faster in so many dimensions.
    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(rows).kneighbors()


def _nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance of each row [u, d] to the nearest of others [m, d], [u]."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others).kneighbors(rows)[0][:, 0]


def _components(close: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Numbers [u] of the connected sets of rows, of which neighbours `index` [u, k] are close or not."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, place = np.nonzero(close)
    second = index[first, place]
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(close), len(close)))
    return connected_components(graph, directed=False)[1]


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _outlying(distance: np.ndarray) -> np.ndarray:
    """Rows whose distance [u] is far above the others'."""
    logs = np.log(np.maximum(distance, np.finfo(np.float32).tiny))
    middle = np.median(logs)
    spread = np.median(np.abs(logs - middle))
    if spread == 0:
        return np.zeros(len(distance), bool)
    return _NORMAL * (logs - middle) / spread > OUTLYING
