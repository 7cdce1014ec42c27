"""Implements plain classifiers that rank and replace given labels; each row is judged by models without it.

All take a `HumanNoise` and give probabilities of the classes of its training rows. Those with settings choose
them by the cross-entropy of held-out clean rows, as the purifier's own probes do.
"""

import warnings
from typing import NamedTuple

import numpy as np
from human_noise_data import HumanNoise
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

FOLDS, CLEANLAB_FOLDS, NEIGHBOURS = 3, 5, 50
# C of scikit-learn, from strong to weak penalties.
INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)
CLEAN_INVERSE_PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Of a clean row, where a noisy row weighs 1.
WEIGHTS = (1.0, 5.0, 25.0)
FLOOR = 1e-4


class Probabilities(NamedTuple):
    """Of training rows [n, c], and of clean rows [m, c] by models that did not train on them."""

    train: np.ndarray
    val: np.ndarray


def cross_validated(data: HumanNoise, seed: int) -> np.ndarray:
    """Probabilities [n, c] of a logistic regression on the given labels alone, with a fixed penalty."""
    rows, _ = standardised(data)
    fold = stratified_folds(data.given, CLEANLAB_FOLDS, np.random.default_rng((seed, 2)))
    probs = np.empty((len(rows), data.num_classes), np.float32)
    for k in range(CLEANLAB_FOLDS):
        model = fit(rows[fold != k], data.given[fold != k], 0.01)
        probs[fold == k] = predict(model, rows[fold == k], data.num_classes)
    return probs


def logistic_both(data: HumanNoise, seed: int) -> Probabilities:
    """Of logistic regressions on given labels and clean rows; clean rows choose penalty and weight."""
    (rows, val), rng = standardised(data), np.random.default_rng((seed, 3))
    fold = stratified_folds(data.given, FOLDS, rng)
    val_fold = stratified_folds(data.val_true, FOLDS, rng)
    best, least = None, np.inf
    for weight in WEIGHTS:
        models: list[LogisticRegression | None] = [None] * FOLDS
        losses: list[float] = []
        for penalty in INVERSE_PENALTIES:
            val_probs = np.empty((len(val), data.num_classes), np.float32)
            for k in range(FOLDS):
                seen, val_seen = fold != k, val_fold != k
                inputs = np.concatenate([rows[seen], val[val_seen]])
                labels = np.concatenate([data.given[seen], data.val_true[val_seen]])
                weights = np.where(np.arange(len(labels)) < seen.sum(), 1, weight).astype(np.float32)
                models[k] = fit(inputs, labels, penalty, weights, models[k])
                val_probs[~val_seen] = predict(models[k], val[~val_seen], data.num_classes)
            losses.append(cross_entropy(val_probs, data.val_true))
            if losses[-1] < least:
                train = np.empty((len(rows), data.num_classes), np.float32)
                for k in range(FOLDS):
                    train[fold == k] = predict(models[k], rows[fold == k], data.num_classes)
                best, least = Probabilities(train, val_probs), losses[-1]
            if len(losses) > 2 and min(losses[-2:]) > min(losses):
                break
    return best


def logistic_clean(data: HumanNoise, seed: int) -> Probabilities:
    """Of a logistic regression on the clean rows alone; held-out ones choose its penalty."""
    rows, val = standardised(data)
    fold = stratified_folds(data.val_true, FOLDS, np.random.default_rng((seed, 4)))
    best, least = None, np.inf
    for penalty in CLEAN_INVERSE_PENALTIES:
        probs = np.full((len(val), data.num_classes), FLOOR, np.float32)
        for k in range(FOLDS):
            if (fold == k).any():
                model = fit(val[fold != k], data.val_true[fold != k], penalty)
                probs[fold == k] = predict(model, val[fold == k], data.num_classes)
        loss = cross_entropy(probs, data.val_true)
        if loss < least:
            best, least = (penalty, probs), loss
    penalty, probs = best
    return Probabilities(predict(fit(val, data.val_true, penalty), rows, data.num_classes), probs)


def neighbour_vote(data: HumanNoise, block: int = 500) -> np.ndarray:
    """Shares [n, c] of given labels among the 50 rows of largest cosine, the row itself left out."""
    rows, _ = standardised(data)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    one_hot = np.eye(data.num_classes, dtype=np.float32)[data.given]
    found = []
    for first in range(0, len(rows), block):
        cosine = rows[first : first + block] @ rows.T
        cosine[np.arange(len(cosine)), first + np.arange(len(cosine))] = -np.inf
        nearest = np.argpartition(cosine, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
        found.append(one_hot[nearest].sum(axis=1))
    return (np.concatenate(found) + 1 / data.num_classes) / (NEIGHBOURS + 1)


def standardised(data: HumanNoise) -> tuple[np.ndarray, np.ndarray]:
    """Training rows [n, d] and clean rows [m, d]; columns have mean 0 and variance 1 over training rows."""
    mean, deviation = data.features.mean(axis=0), data.features.std(axis=0) + 1e-6
    return (data.features - mean) / deviation, (data.val_features - mean) / deviation


def stratified_folds(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A fold below `count` for every row [n]; the rows of a class are spread evenly."""
    fold = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = (np.arange(len(rows)) + rng.integers(count)) % count
    return fold


def fit(
    rows: np.ndarray,
    labels: np.ndarray,
    inverse_penalty: float,
    weights: np.ndarray | None = None,
    start: LogisticRegression | None = None,
) -> LogisticRegression:
    """Logistic regression of rows [n, d], by 60 steps from a `start` of the same classes or from zero.

    Args:
        rows: [n, d].
        labels: [n].
        inverse_penalty: C of scikit-learn.
        weights: of rows, [n].
        start: a model of neighbouring penalty.
    """
    model = LogisticRegression(C=inverse_penalty, max_iter=60, warm_start=True)
    if start is not None and np.array_equal(start.classes_, np.unique(labels)):
        model.coef_, model.intercept_ = start.coef_, start.intercept_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes")
        return model.fit(rows, labels, weights)


def predict(model: LogisticRegression, rows: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities [n, classes]; none is below `FLOOR`, those of classes that it has not seen included."""
    probs = np.full((len(rows), classes), FLOOR, np.float32)
    probs[:, model.classes_] = np.maximum(model.predict_proba(rows), FLOOR)
    return probs / probs.sum(axis=1, keepdims=True)


def cross_entropy(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log probability [n, c] of labels [n]."""
    return float(-np.log(probs[np.arange(len(labels)), labels]).mean())
