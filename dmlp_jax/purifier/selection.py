"""Held-out scores on the clean set: folds, cross-entropy, temperature.

Every choice of the purifier is made by what a classifier trained without some clean rows says about
them, never by the rows it was trained on and never by true labels of the training set.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class HeldOutScore(NamedTuple):
    """Score on clean rows that were held out.

    Attributes:
        cross_entropy: mean negative log-probability of the true class, in nats, at the best temperature and
            with smoothed targets, see `score`.
        accuracy: share of rows whose most probable class is the true one, in [0, 1].
    """

    cross_entropy: jax.Array
    accuracy: jax.Array


def stratified_folds(key: jax.Array, labels: jax.Array, num_folds: int) -> jax.Array:
    """Fold index [m] in [0, num_folds) of every row, each class spread as evenly as possible.

    The classes start at different folds, so that the folds' sizes differ by little even where every
    class has fewer rows than there are folds. Shapes do not depend on values, so it traces.

    Args:
        key: typed PRNG key.
        labels: class indices [m].
        num_folds: number of folds.
    """
    count = labels.shape[0]
    shuffled = jax.random.permutation(key, count)
    by_class = shuffled[jnp.argsort(labels[shuffled], stable=True)]
    # Dealing the rows out in class order puts every class's rows into consecutive, hence distinct, folds.
    return jnp.zeros(count, jnp.int32).at[by_class].set(jnp.arange(count, dtype=jnp.int32) % num_folds)


def train_masks(folds: jax.Array, num_folds: int) -> jax.Array:
    """Row weights [num_folds + 1, m]: row k leaves fold k out, the last keeps every clean row."""
    kept = folds[None, :] != jnp.arange(num_folds + 1)[:, None]
    return kept.astype(jnp.float32)


def held_out_logits(logits: jax.Array, folds: jax.Array) -> jax.Array:
    """Logits [m, c] of each row from the member that did not train on it, out of logits [k, m, c]."""
    return jnp.take_along_axis(logits, folds[None, :, None], axis=0)[0]


def smoothed(targets: jax.Array) -> jax.Array:
    """One-hot targets [m, c] with one uniform pseudo-observation spread over them (after Platt 1999).

    A few held-out rows that are all right would otherwise ask for infinite confidence.
    """
    rows, classes = targets.shape
    return (rows * targets + 1.0 / classes) / (rows + 1.0)


def cross_entropy(logits: jax.Array, targets: jax.Array, temperature: jax.Array | float = 1.0) -> jax.Array:
    """Mean cross-entropy of logits [m, c] over `temperature` against targets [m, c], in nats."""
    log_probs = jax.nn.log_softmax(logits / temperature)
    return -jnp.mean(jnp.sum(targets * log_probs, axis=-1))


def fit_temperature(logits: jax.Array, targets: jax.Array, steps: int = 40) -> jax.Array:
    """Temperature that minimises the cross-entropy of held-out logits (Guo et al. 2017), a scalar.

    Cross-entropy is convex in the inverse temperature, so golden-section search on its logarithm finds
    the minimum. The scale of the logits sets the bracket, e^-7 to e^7 times their root mean square.

    Args:
        logits: held-out logits [m, c].
        targets: one-hot [m, c], smoothed here.
        steps: iterations; each narrows the bracket by .618.
    """
    targets = smoothed(targets)
    spread = jnp.sqrt(jnp.mean((logits - jnp.mean(logits, axis=-1, keepdims=True)) ** 2))
    unit = jnp.maximum(spread, jnp.finfo(logits.dtype).tiny)
    ratio = 0.6180339887

    def loss(log_temperature):
        return cross_entropy(logits / unit, targets, jnp.exp(log_temperature))

    def body(_, bracket):
        low, high = bracket
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        go_left = loss(left) < loss(right)
        return jnp.where(go_left, low, left), jnp.where(go_left, right, high)

    low, high = jax.lax.fori_loop(0, steps, body, (jnp.float32(-7.0), jnp.float32(7.0)))
    return unit * jnp.exp(0.5 * (low + high))


def score(logits: jax.Array, targets: jax.Array) -> HeldOutScore:
    """Score of held-out logits [m, c] at their best temperature against one-hot targets [m, c].

    With the temperature fitted, the loss ranks classifiers by what they know rather than by how sure they
    are, so that ridge predictions, shrunk by label noise, compete on equal terms.
    """
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    loss = cross_entropy(logits, smoothed(targets), fit_temperature(logits, targets))
    return HeldOutScore(loss, jnp.mean(hit.astype(logits.dtype)))


def clearly_better(
    logits: jax.Array, others: jax.Array, targets: jax.Array, standard_errors: float = 3.0
) -> jax.Array:
    """By how much other classifiers beat a default one beyond chance, [k]; positive where they do.

    Losses are compared row by row, since all classifiers meet the same rows: the margin is the mean
    difference less `standard_errors` of its own standard errors. A few rows can only overrule the default
    where they speak with one voice, so that a small clean set does no harm.

    Args:
        logits: held-out logits of the default [m, c].
        others: held-out logits of the others [k, m, c].
        targets: one-hot [m, c].
        standard_errors: how many to ask for.
    """
    smooth = smoothed(targets)

    def losses(logits):
        temperature = fit_temperature(logits, targets)
        return -jnp.sum(smooth * jax.nn.log_softmax(logits / temperature), axis=-1)

    gains = losses(logits)[None] - jax.vmap(losses)(others)
    error = jnp.std(gains, axis=1) / jnp.sqrt(gains.shape[1])
    return jnp.mean(gains, axis=1) - standard_errors * error
