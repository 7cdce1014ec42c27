"""Simulates annotators who confuse what looks alike: weak classifiers whose predictions become given labels.

An annotator has learned the task from few rows, or sees a blurred image. Its labels are drawn from its
predicted probabilities, so that mistakes depend on the row and gather where classes resemble each other, as
people's do.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def set_aside(true: np.ndarray, each: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `each` rows of every class, to teach annotators, and of all others, in order."""
    order = rng.permutation(len(true))
    lesson = np.concatenate([order[true[order] == label][:each] for label in range(true.max() + 1)])
    return lesson, np.setdiff1d(order, lesson)


def weak_logits(lesson: np.ndarray, classes: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Logits [n, c] of a logistic regression that has learned the classes from few rows.

    They are twice its log-probabilities: such an annotator is sure of what it mistakes.

    Args:
        lesson: what the annotator sees of the rows it learns from, [l, k].
        classes: of these rows, [l].
        views: what it sees of the rows that it labels, [n, k].
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return 2 * model.fit(lesson, classes).predict_log_proba(views)


def draw(logits: np.ndarray, true: np.ndarray, wrong: float, rng: np.random.Generator) -> np.ndarray:
    """Labels [n] drawn from softmax(logits + b * one-hot true class), with b by the share of wrong ones.

    Args:
        logits: of an annotator, [n, c].
        true: classes [n].
        wrong: expected share of wrong labels, in (0, 1).
        rng: draws the labels.
    """
    rows, low, high = np.arange(len(true)), -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        share = 1 - softmax(_favoured(logits, true, middle))[rows, true].mean()
        low, high = (middle, high) if share > wrong else (low, middle)
    return sample(softmax(_favoured(logits, true, low)), rng)


def sample(probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class for every row of probabilities [n, c]."""
    edges = probs.cumsum(axis=1)
    return (rng.random((len(probs), 1)) * edges[:, -1:] > edges).sum(axis=1).astype(np.int32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _favoured(logits: np.ndarray, true: np.ndarray, bonus: float) -> np.ndarray:
    """Logits [n, c] with `bonus` added to those of the true classes."""
    return logits + bonus * np.eye(logits.shape[1])[true]
