"""Finds the reviewed rows that are most like a row: what a reviewer compares it with."""

import base64
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

# Reviewed rows shown beside a row.
NEIGHBOURS = 3
# Most reviewed rows that are compared with; more are sampled.
LIMIT = 5000
# Rows that are compared at a time.
_BLOCK = 8192
# Features beyond so many standard deviations count as so many: one broken value is not to decide alone.
_CLIP = 20.0


def nearest(features: Any, rows: np.ndarray, clean_features: Any) -> np.ndarray:
    """Positions of the reviewed rows nearest to each row, [k, NEIGHBOURS], the nearest first.

    Near is by the cosine of features that are standardised by the reviewed rows' mean and deviation.

    Args:
        features: of the training rows [n, d], anything that can be indexed by an array of row numbers.
        rows: training rows that neighbours are wanted for [k].
        clean_features: of the reviewed rows [m, d]; fewer than `NEIGHBOURS` give fewer columns.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(clean_features))[:LIMIT])
    scaler = StandardScaler()
    scaler.fit(np.asarray(clean_features[chosen], np.float64))

    def scaled(values: Any) -> np.ndarray:
        return np.clip(scaler.transform(np.asarray(values, np.float64)), -_CLIP, _CLIP).astype(np.float32)

    index = NearestNeighbors(
        n_neighbors=min(NEIGHBOURS, len(chosen)), metric="cosine", algorithm="brute"
    ).fit(scaled(clean_features[chosen]))
    found = np.zeros((len(rows), index.n_neighbors), np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        # Memory maps are read in order.
        order = np.argsort(block, kind="stable")
        places = index.kneighbors(scaled(features[block[order]]), return_distance=False)
        found[start + order] = chosen[places]
    return found


def packed(places: np.ndarray) -> str:
    """Whole numbers below 2**32, [k, c], row by row as base64 of little-endian unsigned 32 bits."""
    return base64.b64encode(np.asarray(places, "<u4").tobytes()).decode()
