"""Finds the reviewed rows that are most like a row: what a reviewer compares it with."""

import base64
from typing import Any

import numpy as np

# Reviewed rows shown beside a row.
NEIGHBOURS = 3
# Most reviewed rows that are compared with; more are sampled.
LIMIT = 5000
# Rows that are compared at a time.
_BLOCK = 1024
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
    sample = np.asarray(clean_features[chosen], np.float64)
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    # A feature that is the same in all reviewed rows, but for rounding.
    deviation[deviation <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0

    def unit(values: Any) -> np.ndarray:
        scaled = (np.asarray(values, np.float64) - mean) / deviation
        scaled = np.clip(scaled, -_CLIP, _CLIP).astype(np.float32)
        return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-30)

    directions = unit(sample).T
    count = min(NEIGHBOURS, len(chosen))
    found = np.zeros((len(rows), count), np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        # Memory maps are read in order.
        order = np.argsort(block, kind="stable")
        cosines = unit(features[block[order]]) @ directions
        places = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        by_cosine = np.argsort(-np.take_along_axis(cosines, places, axis=1), axis=1, kind="stable")
        found[start + order] = chosen[np.take_along_axis(places, by_cosine, axis=1)]
    return found


def packed(places: np.ndarray) -> str:
    """Whole numbers below 2**32, [k, c], row by row as base64 of little-endian unsigned 32 bits."""
    return base64.b64encode(np.asarray(places, "<u4").tobytes()).decode()
