"""Held-out scores on the clean set: folds, cross-entropy, temperature.

Every choice of the purifier is made by what a classifier trained without some clean rows says about
them, never by the rows it was trained on and never by true labels of the training set.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.search import falling_root

# Rows that `fit_temperature` takes at once.
BLOCK_ROWS = 1024


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


def smoothed(targets: jax.Array) -> jax.Array:
    """One-hot targets [m, c] with one uniform pseudo-observation spread over them (after Platt 1999).

    A few held-out rows that are all right would otherwise ask for infinite confidence.
    """
    rows, classes = targets.shape
    return (rows * targets + 1.0 / classes) / (rows + 1.0)


def cross_entropies(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of every row of logits [m, c] against targets [m, c], in nats, [m]."""
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean of `cross_entropies`, a scalar."""
    return jnp.mean(cross_entropies(logits, targets))


def fit_temperature(logits: jax.Array, targets: jax.Array, guess: jax.Array | None = None) -> jax.Array:
    """Temperature that minimises the cross-entropy of held-out logits (Guo et al. 2017), a scalar.

    Cross-entropy is convex in the inverse temperature b; the root of its slope, mean_i sum_y (p_b(y) -
    target_y) z_y, is found. (Searching for the least loss itself would find b no better than to the root of
    the rounding error.) The scale of the logits sets the bracket, e^-7 to e^7 times their root mean square.

    Args:
        logits: held-out logits z, [m, c].
        targets: one-hot [m, c], smoothed here.
        guess: a temperature to look at first; it saves time where it is near.
    """
    centred = logits - jnp.mean(logits, axis=-1, keepdims=True)
    spread = jnp.sqrt(jnp.mean(centred**2))
    unit = jnp.maximum(spread, jnp.finfo(logits.dtype).tiny)
    # At most 0, so that rows that are sure add no rounding.
    scaled = (logits - jnp.max(logits, axis=-1, keepdims=True)) / unit
    wanted = jnp.sum(smoothed(targets) * scaled, axis=-1)
    blocks = _blocks(scaled), _blocks(wanted[:, None])

    def excess(log_temperature):
        sharpness = jnp.exp(-log_temperature)

        def add(sums, block):
            scaled, wanted = block
            scores = jnp.exp(scaled * sharpness)
            share = 1.0 / jnp.sum(scores, axis=0)
            mean = share * jnp.sum(scores * scaled, axis=0)
            variance = share * jnp.sum(scores * scaled**2, axis=0) - mean**2
            return (sums[0] + jnp.sum(mean - wanted[0]), sums[1] + jnp.sum(variance)), None

        zero = jnp.zeros((), scaled.dtype)
        value, variance = jax.lax.scan(add, (zero, zero), blocks)[0]
        return value, -sharpness * variance

    start = None if guess is None else jnp.log(guess / unit)
    log_temperature = falling_root(excess, jnp.float32(-7.0), jnp.float32(7.0), start)
    # Logits that are all equal have no scale.
    return jnp.where(spread > 0, unit * jnp.exp(log_temperature), 1.0)


def _blocks(values: jax.Array) -> jax.Array:
    """Rows [m, c] as class-major blocks [q, c, b] of a processor's cache; zeros fill up the last."""
    count = values.shape[0]
    blocks = -(-count // BLOCK_ROWS)
    size = -(-count // blocks)
    values = jnp.pad(values, ((0, blocks * size - count), (0, 0)))
    return jnp.moveaxis(values.reshape(blocks, size, -1), 2, 1)


def score(logits: jax.Array, targets: jax.Array, temperature: jax.Array | None = None) -> HeldOutScore:
    """Score of held-out logits [m, c] at their best temperature against one-hot targets [m, c].

    With the temperature fitted, the loss ranks classifiers by what they know rather than by how sure they
    are, so that ridge predictions, shrunk by label noise, compete on equal terms.

    Args:
        logits: [m, c].
        targets: one-hot [m, c].
        temperature: what `fit_temperature` finds, where it is known.
    """
    temperature = fit_temperature(logits, targets) if temperature is None else temperature
    return HeldOutScore(cross_entropy(logits / temperature, smoothed(targets)), accuracy(logits, targets))


def accuracy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Share of rows whose most probable class is the true one, of logits [m, c] and one-hot [m, c]."""
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return jnp.mean(hit.astype(logits.dtype))


def expected_scores(
    logits: jax.Array, transition: jax.Array, labels: jax.Array, trusted: jax.Array | None = None
) -> jax.Array:
    """Log-probability of the true class of every row after meeting a given label, in nats, [m].

    Clean rows have no given label; it is drawn from row y of the transition matrix, y the true class, and the
    mean is taken over all of them: sum_g T[y_v, g] log p(y_v | x_v, g).

    Args:
        logits: held-out logits [m, c] at their temperature.
        transition: T, [c, c].
        labels: true classes [m].
        trusted: the matrix of p(y | x, g), if another than T.
    """
    trusted = transition if trusted is None else trusted
    probs = jax.nn.softmax(logits)
    joint = jnp.take_along_axis(probs, labels[:, None], axis=1) * trusted[labels]
    posterior = joint / jnp.maximum(matmul(probs, trusted), jnp.finfo(probs.dtype).tiny)
    floor = jnp.finfo(probs.dtype).eps
    return jnp.sum(transition[labels] * jnp.log(jnp.maximum(posterior, floor)), axis=-1)


def expected_score(
    logits: jax.Array, transition: jax.Array, labels: jax.Array, trusted: jax.Array | None = None
) -> jax.Array:
    """Mean of `expected_scores`, a scalar."""
    return jnp.mean(expected_scores(logits, transition, labels, trusted))


def clearly_better(others: jax.Array, hits: jax.Array, standard_errors: float = 3.0) -> jax.Array:
    """Whether others get so many standard errors more rows right, bool [...].

    The comparison is paired, row by row; what is known only in expectation adds its own variance.

    Args:
        others: whether the others are right, [..., m].
        hits: probability that the default is right, [m].
        standard_errors: how many to ask for.
    """
    gains = others - hits
    variance = jnp.var(gains, axis=-1) + jnp.mean(hits * (1.0 - hits))
    return jnp.mean(gains, axis=-1) > standard_errors * jnp.sqrt(variance / hits.shape[0])
