"""Bins held-out clean rows by confidence and sums up confidence and accuracy of each bin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.base.ridge import matmul

# Bins of equal width over [0, 1], as Guo et al. (2017) draw them.
BINS = 15
# Most entries of an intermediate result of `expected`, which takes rows in chunks to stay below.
ENTRIES = 2**22


def binned(confidence: jax.Array, right: jax.Array, weight: jax.Array | None = None) -> dict[str, jax.Array]:
    """Bins labels by confidence; sums over each bin: 'rows', 'confidence' and 'right', each [BINS].

    Divided by 'rows', 'confidence' is the bin's mean confidence and 'right' its accuracy.

    Args:
        confidence: probabilities of labels, any shape, in [0, 1].
        right: whether each label is right, or the probability of that, of the same shape.
        weight: weight of each label, of the same shape; 1 by default.
    """
    weight = jnp.ones_like(confidence) if weight is None else weight
    place = jnp.clip((confidence * BINS).astype(jnp.int32), 0, BINS - 1)
    sums = jnp.stack([weight, weight * confidence, weight * right]).reshape(3, -1)
    # A matrix product with one-hot bins: a scatter would add label by label.
    found = matmul(sums.astype(jnp.float32), jax.nn.one_hot(place.reshape(-1), BINS, dtype=jnp.float32))
    return dict(zip(("rows", "confidence", "right"), found, strict=True))


class Expected(NamedTuple):
    """Scores of labels of clean rows, in expectation over the given label that each row may have.

    Attributes:
        hits: probability that the label written on each row is right, [m].
        bins: `binned` over rows and given labels.
    """

    hits: jax.Array
    bins: dict[str, jax.Array]


def expected(logits: jax.Array, targets: jax.Array, transition: jax.Array, trusted: jax.Array) -> Expected:
    """Scores the labels of clean rows in expectation over the given labels that T would draw for them.

    The label g of a row of true class y is drawn from T[y]; p(y | x, g) ∝ p(y | x) T'[y, g] then labels it.
    Classes that are equally probable share the hit. Takes c^2 operations per row.

    Args:
        logits: held-out logits [m, c] at their temperature.
        targets: one-hot [m, c].
        transition: T, from which given labels are drawn, [c, c].
        trusted: T', by which labels are written; it may have less noise, [c, c].
    """
    count, classes = logits.shape
    size = min(count, max(1, ENTRIES // (classes * max(classes, BINS))))

    def of_chunk(rows):
        logits, targets = rows
        joint = jax.nn.softmax(logits)[:, :, None] * trusted
        largest = jnp.max(joint, axis=1, keepdims=True)
        # A compiler may compute `joint` twice, with different rounding.
        first = (joint >= (1.0 - 8.0 * jnp.finfo(joint.dtype).eps) * largest).astype(joint.dtype)
        right = jnp.sum(first * targets[:, :, None], axis=1) / jnp.maximum(jnp.sum(first, axis=1), 1.0)
        total = jnp.maximum(jnp.sum(joint, axis=1), jnp.finfo(joint.dtype).tiny)
        chance = matmul(targets, transition)  # 0 for padding
        return jnp.sum(chance * right, axis=1), binned(largest[:, 0] / total, right, chance)

    hits, bins = jax.lax.map(of_chunk, (into_chunks(logits, size), into_chunks(targets, size)))
    return Expected(hits.reshape(-1)[:count], jax.tree.map(lambda values: jnp.sum(values, axis=0), bins))


def of_predictions(
    logits: jax.Array, targets: jax.Array, weight: jax.Array | None = None
) -> dict[str, jax.Array]:
    """`binned` for the most probable classes of held-out logits [m, c].

    Args:
        logits: [m, c].
        targets: one-hot [m, c].
        weight: of the rows, [m]; 1 by default.
    """
    probs = jax.nn.softmax(logits)
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return binned(jnp.max(probs, axis=-1), hit.astype(probs.dtype), weight)


def unknown() -> dict[str, jax.Array]:
    """Empty bins, for where nothing was held out."""
    return {name: jnp.zeros(BINS, jnp.float32) for name in ("rows", "confidence", "right")}
