"""Ranks given labels where no row is known to be right: the first look at a data set.

A ridge regression of the given labels on the features predicts each row from all others, but for its copies:
rows of equal features, which would tell their own labels. The prediction for a class is divided by the
class's share, so that labels of frequent classes are not believed for being frequent; a softmax over the
classes then compares a given label with its rivals. Nothing here is a calibrated probability, and no label is
changed. `benchmarks/front_door.py` measures it.
"""

from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.data import equal_rows

# L2 strengths, in mean eigenvalues of the Gram matrix; the least leave-one-out error takes one.
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Of predictions on the scale of shares: 0 and 1 are a factor of e^8 apart.
SHARPNESS = 8.0
# Rows of a chunk: features may be on disk.
_CHUNK = 8_192
# Above this leverage a row and its copies determine its prediction, and there is no leave-one-out prediction.
_MOST_LEVERAGE = 0.999


class Ranking(NamedTuple):
    """What the rows say about each other's labels.

    Attributes:
        probs: a score for each class [n, c] float32, rows on the simplex; not calibrated.
        quality: that of the given label [n], float32: low where it is suspicious.
    """

    probs: np.ndarray
    quality: np.ndarray


def rank(features: Any, labels: np.ndarray, num_classes: int) -> Ranking:
    """Ranks given labels by leave-one-out ridge regression, in O(n d (d + c)) operations and four passes.

    A row's copies are left out with it. Without s rows x whose targets sum to t, a ridge regression of
    inverse Gram matrix A and moment M predicts (x^T A M - h t) / (1 - s h) for them, with the leverage
    h = x^T A x (Sherman and Morrison 1950).

    Args:
        features: [n, d], a matrix or memory map, read chunk by chunk.
        labels: class indices [n].
        num_classes: c.
    """
    count, width = features.shape
    shares = np.maximum(np.bincount(labels, minlength=num_classes), 1) / count
    mean = sum(rows.sum(axis=0) for _, rows in _chunks(features)) / count
    equal = equal_rows.find(features)
    of_copies = np.zeros((len(equal.size), num_classes))
    np.add.at(of_copies, equal.number, _targets(labels, shares))
    gram, moment = np.zeros((width, width)), np.zeros((width, num_classes))
    for place, rows in _chunks(features):
        rows -= mean
        gram += rows.T @ rows
        moment += rows.T @ _targets(labels[place], shares)
    values, vectors = np.linalg.eigh(gram)
    values, rotated = np.maximum(values, 0), vectors.T @ moment
    # Equal rows have no eigenvalue to measure the penalty by.
    unit = values.mean() or 1.0
    errors = np.zeros(len(PENALTIES))
    for place, rows in _chunks(features):
        inner, targets = (rows - mean) @ vectors, _targets(labels[place], shares)
        sets = equal.number[place]
        copies, summed = equal.size[sets, None], of_copies[sets]
        for number, penalty in enumerate(PENALTIES):
            left = _left_out(inner, copies, summed, rotated, 1 / (values + penalty * unit))
            errors[number] += np.sum((left - targets) ** 2)
    kept = 1 / (values + PENALTIES[int(errors.argmin())] * unit)
    probs = np.empty((count, num_classes), np.float32)
    for place, rows in _chunks(features):
        sets = equal.number[place]
        left = _left_out((rows - mean) @ vectors, equal.size[sets, None], of_copies[sets], rotated, kept)
        scores = SHARPNESS * (left + shares) / (num_classes * shares)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        probs[place] = scores / scores.sum(axis=1, keepdims=True)
    return Ranking(probs, probs[np.arange(count), labels])


def _chunks(features: Any) -> Any:
    """Yields slices and their rows in float64."""
    for start in range(0, len(features), _CHUNK):
        place = slice(start, min(start + _CHUNK, len(features)))
        yield place, np.array(features[place], np.float64)


def _targets(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.eye(len(shares))[labels] - shares


def _left_out(
    inner: np.ndarray, copies: np.ndarray, targets: np.ndarray, rotated: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Predictions [b, c] of rows by regressions without them and their copies.

    Args:
        inner: centred rows in the eigenvectors of the Gram matrix [b, d].
        copies: number of equal rows, each row itself among them [b, 1].
        targets: sum of their centred one-hot labels [b, c].
        rotated: the moment in these vectors [d, c].
        kept: 1 / (eigenvalue + penalty), [d].
    """
    leverage = (inner**2 @ kept)[:, None]
    alone = copies * leverage > _MOST_LEVERAGE
    left = (inner * kept) @ rotated - leverage * targets
    return np.where(alone, 0.0, left / np.where(alone, 1.0, 1.0 - copies * leverage))
