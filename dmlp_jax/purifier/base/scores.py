"""Computes held-out scores on the clean set: cross-entropy, accuracy, expected scores, a significance test.

Every choice of the purifier is based on predictions for clean rows that the classifier did not train on,
never on rows that it trained on and never on true labels of the training set.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import masked
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.temperature import fit_temperature, smoothed

# A score that cannot be known, inside the compiled program: NaN there would stop users who hunt one of their
# own with `jax_debug_nans`. `result.reveal` makes it NaN.
UNKNOWN = -1.0


class HeldOutScore(NamedTuple):
    """The score of predictions for held-out clean rows.

    Attributes:
        cross_entropy: mean negative log-probability of the true class, in nats, at the best temperature and
            with smoothed targets, see `score`.
        accuracy: share of rows whose most probable class is the true one, in [0, 1].
        standard_error: of `accuracy`, see `counted`.
    """

    cross_entropy: jax.Array
    accuracy: jax.Array
    standard_error: jax.Array


def unknown_score() -> HeldOutScore:
    """The score where nothing was held out."""
    return HeldOutScore(*[jnp.float32(UNKNOWN)] * 3)


def cross_entropies(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of every row of logits [m, c] against targets [m, c], in nats, [m]."""
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def score(
    logits: jax.Array,
    targets: jax.Array,
    temperature: jax.Array | None = None,
    weight: jax.Array | None = None,
) -> HeldOutScore:
    """Score of held-out logits [m, c] at their best temperature against one-hot targets [m, c].

    With the temperature fitted, the loss ranks classifiers by how well they separate the classes and not by
    their confidence, so that ridge predictions, which label noise shrinks, compete on equal terms.

    Args:
        logits: [m, c].
        targets: one-hot [m, c]; 0 for padding.
        temperature: the result of `fit_temperature`, where it is known already.
        weight: of the rows, [m], see `counted`; by default 1, and 0 for padding.
    """
    weight = masked.of_targets(targets) if weight is None else weight
    temperature = fit_temperature(logits, targets) if temperature is None else temperature
    losses = cross_entropies(logits / temperature, smoothed(targets))
    hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return HeldOutScore(weighted_mean(losses, weight), *counted(hits, weight))


def weighted_mean(values: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Mean over the last axis of values [..., m] by row weights [m]; `UNKNOWN` where they sum to 0."""
    if weight is None:
        return jnp.mean(values, axis=-1)
    total = jnp.sum(weight)
    mean = jnp.sum(weight * values, axis=-1) / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, mean, UNKNOWN)


def counted(hits: jax.Array, weight: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Accuracy and its standard error, [...], `UNKNOWN` without rows.

    The standard error is that of a share with one right and one wrong row added (Agresti and Coull 1998):
    three rows that are all right do not prove that every row is.

    Args:
        hits: whether each row is right, or the probability of that, [..., m].
        weight: of the rows, [m]: 0 for rows that were not drawn at random, else what makes their classes as
            frequent as among the training rows; 1 by default.
    """
    weight = jnp.ones(hits.shape[-1]) if weight is None else weight
    share = weighted_mean(hits.astype(jnp.float32), weight)
    rows = jnp.sum(weight) ** 2 / jnp.maximum(jnp.sum(weight**2), jnp.finfo(jnp.float32).tiny)
    widened = (jnp.maximum(share, 0.0) * rows + 1.0) / (rows + 2.0)
    error = jnp.sqrt(widened * (1.0 - widened) / (rows + 2.0))
    return share, jnp.where(rows > 0, error, UNKNOWN)


def accuracy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Share of rows whose most probable class is the true one, of logits [m, c] and one-hot [m, c].

    Padding has targets of 0 and counts for nothing.
    """
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return masked.mean(hit.astype(logits.dtype), masked.of_targets(targets))


def expected_scores(
    logits: jax.Array, transition: jax.Array, labels: jax.Array, trusted: jax.Array | None = None
) -> jax.Array:
    """Expected posterior log-probability of the true class of every row, in nats, [m].

    The given labels of clean rows are taken to be unknown. So the expectation is over the labels g that the
    transition matrix would draw for the true class y_v: sum_g T[y_v, g] log p(y_v | x_v, g).

    Args:
        logits: held-out logits [m, c] at their temperature.
        transition: T, from which given labels are drawn, [c, c].
        labels: true classes [m].
        trusted: transition matrix of the posterior p(y | x, g), [c, c]; T by default.
    """
    trusted = transition if trusted is None else trusted
    probs = jax.nn.softmax(logits)
    joint = jnp.take_along_axis(probs, labels[:, None], axis=1) * trusted[labels]
    posterior = joint / jnp.maximum(matmul(probs, trusted), jnp.finfo(probs.dtype).tiny)
    floor = jnp.finfo(probs.dtype).eps
    return jnp.sum(transition[labels] * jnp.log(jnp.maximum(posterior, floor)), axis=-1)


def expected_score(
    logits: jax.Array,
    transition: jax.Array,
    labels: jax.Array,
    real: jax.Array,
    trusted: jax.Array | None = None,
) -> jax.Array:
    """Mean of `expected_scores` over the rows that are real [m], see `masked.py`; a scalar."""
    return masked.mean(expected_scores(logits, transition, labels, trusted), real)


def clearly_better(
    others: jax.Array,
    hits: jax.Array,
    standard_errors: float = 3.0,
    weight: jax.Array | None = None,
    added: float = 0.0,
) -> jax.Array:
    """Whether others are more accurate by more than some standard errors, bool [...].

    The comparison is paired, row by row; `hits` that are probabilities add their own variance.

    Args:
        others: whether the others are right, [..., m].
        hits: whether the default is right, or the probability of that, [m].
        standard_errors: required number of standard errors.
        weight: of the rows, [m], see `counted`; 1 by default.
        added: rows that differ, added to the standard error only: with 1, a single row decides nothing.
    """
    weight = jnp.ones(hits.shape[0]) if weight is None else weight
    gains = others - hits
    total = jnp.maximum(jnp.sum(weight), jnp.finfo(jnp.float32).tiny)
    share = weight / total
    mean = jnp.sum(share * gains, axis=-1)
    variance = jnp.sum(share * (gains - mean[..., None]) ** 2, axis=-1)
    variance += jnp.sum(share * hits * (1.0 - hits))
    per_row = jnp.sum(share**2)
    return mean > standard_errors * jnp.sqrt((variance + added * per_row) * per_row)
