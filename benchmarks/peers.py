"""Implements the purifier's timing references: its matrix products alone, and the paper's preset in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax import PurifyConfig
from dmlp_jax.purifier.base.ridge import HIGHEST


def products(config: PurifyConfig, classes: int):
    """A jitted function of features [n, d] that does the matrix products of the default preset and no more.

    Counted are the Gram matrix and, for every classifier, a product with the features and one with their
    transpose in each round, one product before the first, a pair for the first average with the closed form
    (others only follow where it is taken), and one product each for purified labels and the three baselines.
    """
    members = config.num_folds + 1
    race = min(config.race_steps, config.steps) if len(config.weight_decay) > 1 else 0
    widest = members * (len(config.weight_decay) if race else 1) * classes

    def pair(features, weights):
        scores = jnp.matmul(weights, features.T, precision=HIGHEST)
        return jnp.matmul(scores, features, precision=HIGHEST)

    @jax.jit
    def run(features):
        gram = jnp.matmul(features.T, features, precision=HIGHEST)
        weights = jnp.tile(1e-6 * gram[:classes], (widest // classes, 1))
        before = jnp.matmul(weights[: members * classes], features.T, precision=HIGHEST).max(axis=1)
        for rows, rounds in (
            (widest, race),
            (members * classes, config.steps - race + min(config.refits, 1)),
        ):
            weights = jax.lax.fori_loop(0, rounds, lambda _, w: 1e-9 * pair(features, w), weights[:rows])
        single = weights[:classes]
        outputs = [jnp.matmul(single * (1 + i), features.T, precision=HIGHEST).max(axis=1) for i in range(4)]
        return weights, before, outputs

    return run


def paper_products(config: PurifyConfig, classes: int):
    """A jitted function of features [n, d] that does the matrix products of the paper's preset and no more.

    Slice by slice one product with the rows and one with their transpose, for the labels and every classifier
    at once, in every epoch. Products per batch of 7,000 rows, the factors among them, are left out.
    """
    heads = (config.num_members + 1) * classes

    @jax.jit
    def run(features):
        size = config.eac_batch_size
        slices = features[: len(features) // size * size].reshape(-1, size, features.shape[1])

        def step(weights, index):
            rows = jax.lax.dynamic_index_in_dim(slices, index, keepdims=False)
            scores = jnp.matmul(weights, rows.T, precision=HIGHEST)
            return 1e-9 * jnp.matmul(scores, rows, precision=HIGHEST), None

        indices = jnp.tile(jnp.arange(len(slices)), config.steps)
        return jax.lax.scan(step, features[:heads], indices)[0]

    return run


def paper_epoch(features, labels, val_features, val_targets, classifiers, *, batch=7000, small=500):
    """One epoch of Eq. 4-8 in vectorised NumPy: the ridge problem is solved anew in every step.

    Args:
        features: [n, d] float32.
        labels: [n, c] float32, changed in place.
        val_features: [m, d].
        val_targets: one-hot [m, c].
        classifiers: of every member a list [weights [d + 1, c], first and second moment], changed in place.
        batch: rows of one ridge solve.
        small: rows of one classifier step.
    """
    ones = np.ones((len(features), 1), np.float32)
    for start in range(0, len(features), batch):
        rows, current = features[start : start + batch], labels[start : start + batch]
        probs = softmax(current)
        inverse = rows.T @ rows + np.eye(rows.shape[1], dtype=np.float32)
        predictions = val_features @ np.linalg.solve(inverse, rows.T @ probs)
        q = softmax(predictions)
        entropy = -np.sum(q * np.log(q), axis=1, keepdims=True)
        outer = (2 * (predictions - val_targets) - q * (np.log(q) + entropy)) / len(predictions)
        inner = rows @ np.linalg.solve(inverse, val_features.T @ outer)
        current -= 0.01 * probs * (inner - np.sum(probs * inner, axis=1, keepdims=True))
        targets = np.maximum(current, 0)
        targets /= targets.sum(axis=1, keepdims=True)
        wide = np.concatenate([rows, ones[: len(rows)]], axis=1)
        for member in classifiers:
            for first in range(0, len(rows), small):
                adam(member, wide[first : first + small], targets[first : first + small])


def per_sample_bookkeeping(labels, predictions, given) -> float:
    """Share of labels and of predictions that agree with the given ones, counted row by row in Python.

    The authors' script prints such shares after every epoch, of the labels and of the classifier's outputs of
    each of its two views, and counts them so.

    Args:
        labels: of one view [n, c].
        predictions: of its classifier [n, c].
        given: [n].
    """
    agreeing = 0
    for values in (labels, predictions):
        for row in range(len(given)):
            if np.argmax(values[row]) == given[row]:
                agreeing += 1
    return agreeing / (2 * len(given))


def adam(member, rows, targets) -> None:
    """One Adam step on cross-entropy plus entropy (bias correction left out, it costs nothing)."""
    weights, first, second = member
    probs = softmax(rows @ weights)
    log = np.log(np.maximum(probs, 1e-12))
    entropy = -np.sum(probs * log, axis=1, keepdims=True)
    gradient = rows.T @ (probs - targets - probs * (log + entropy)) / len(rows)
    first += 0.5 * (gradient - first)
    second += 0.001 * (gradient**2 - second)
    weights -= 0.006 * first / (np.sqrt(second) + 1e-8)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
