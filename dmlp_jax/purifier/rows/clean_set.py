"""Splits the clean rows into folds, and predicts them by classifiers that did not train on them.

Clean rows are read in chunks, as the training rows are, so that many rows of many classes fit into memory.
Some of them may be padding (`padding.py`): these come last, have features, targets and masks of 0, and count
for nothing.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.pytrees import into_chunks
from dmlp_jax.purifier.base.ridge import HIGHEST, matmul
from dmlp_jax.purifier.rows.chunks import chunk_rows


class CleanChunk(NamedTuple):
    """A chunk of clean rows, or all chunks with a leading axis [q]. Padding has masks of 0.

    Attributes:
        features: standardised, [b, d].
        labels: class indices [b].
        folds: fold index of each row, [b].
        masks: row weights [b, k + 1], see `train_masks`.
    """

    features: jax.Array
    labels: jax.Array
    folds: jax.Array
    masks: jax.Array


class CleanSet(NamedTuple):
    """The clean rows, ready for held-out scoring.

    Attributes:
        features: standardised, [m, d].
        labels: class indices [m]; 0 for padding.
        targets: the same one-hot, [m, c]; zeros for padding.
        masks: row weights [k + 1, m], see `train_masks`.
        chunks: the same rows in chunks.
        width: number of columns in which penalties are measured, scalar: d, or that before `span.py`.
        real: 1 for a row, 0 for padding, [m].
    """

    features: jax.Array
    labels: jax.Array
    targets: jax.Array
    masks: jax.Array
    chunks: CleanChunk
    width: jax.Array
    real: jax.Array

    @property
    def number(self) -> jax.Array:
        """Number of clean rows without padding, a float32 scalar."""
        return jnp.sum(self.real)


class CleanPredictions(NamedTuple):
    """Predictions of k + 1 classifiers for the clean rows, and the gradients of the rows' cross-entropy.

    Attributes:
        held_out: logits [m, c] of each row from the classifier that did not train on it, without a shift.
        gradient: of the summed cross-entropy of the rows that each classifier trains on, [k + 1, d, c].
        loss: mean cross-entropy of the classifier that trains on all rows, in nats.
    """

    held_out: jax.Array
    gradient: jax.Array
    loss: jax.Array


def make(
    features: jax.Array,
    labels: jax.Array,
    num_classes: int,
    num_folds: int,
    key: jax.Array,
    width: int | None = None,
    firsts: jax.Array | None = None,
) -> CleanSet:
    """Splits the clean rows into folds; equal rows stay together, or they would be held out from themselves.

    Args:
        features: standardised, [m, d].
        labels: class indices [m]; -1 for padding, which comes last.
        num_classes: c.
        num_folds: k.
        key: PRNG key of the split.
        width: see `CleanSet`; d by default.
        firsts: number of the first of the equal rows of each row [m], see `copies.firsts`. None where no rows
            are known to be equal.
    """
    labels = labels.astype(jnp.int32)
    real = labels >= 0
    folds = stratified_folds(key, labels, num_folds)
    if firsts is not None:
        folds = _keep_together(folds, firsts, labels, num_classes, num_folds)
    masks = jnp.where(real, train_masks(folds, num_folds), 0.0)
    features = jnp.where(real[:, None], features, 0.0)
    size = chunk_rows(features.shape[0], (num_folds + 1) * num_classes)
    targets = jax.nn.one_hot(labels, num_classes, dtype=features.dtype)
    labels = jnp.maximum(labels, 0)
    chunks = CleanChunk(*(into_chunks(values, size) for values in (features, labels, folds, masks.T)))
    width = features.shape[1] if width is None else width
    return CleanSet(features, labels, targets, masks, chunks, jnp.float32(width), real.astype(jnp.float32))


def _keep_together(
    folds: jax.Array, firsts: jax.Array, labels: jax.Array, num_classes: int, num_folds: int
) -> jax.Array:
    """Folds [m] in which equal rows share one, or `folds` where a classifier would then lose a whole class.

    That is so where clean rows are all equal, such as those of features that are constant.
    """
    together = folds[firsts]
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    kept, apart = (matmul(train_masks(own, num_folds), targets) for own in (together, folds))
    return jnp.where(jnp.all((kept > 0) | (apart == 0)), together, folds)


def with_features(clean: CleanSet, features: jax.Array) -> CleanSet:
    """The same rows with other features [m, d]."""
    chunked = into_chunks(features, clean.chunks.labels.shape[1])
    return clean._replace(features=features, chunks=clean.chunks._replace(features=chunked))


def held_out(weights: jax.Array, clean: CleanSet) -> jax.Array:
    """Logits [m, c] of each clean row from the one of k classifiers [k, d, c] that did not train on it."""

    def of_chunk(chunk):
        return _of_unseen(_logits(weights, chunk), chunk).T

    return _join(jax.lax.map(of_chunk, clean.chunks), clean)


def predict_clean(weights: jax.Array, clean: CleanSet, shift: jax.Array | None = None) -> CleanPredictions:
    """Predicts the clean rows by the classifiers of every fold and of all rows: logits, gradient, loss.

    Args:
        weights: [k + 1, d, c].
        clean: the clean rows.
        shift: added to the logits for gradient and loss, [c]; see `posterior/label_shift.py`.
    """
    shift = jnp.zeros_like(weights[0, 0]) if shift is None else shift

    def body(sums, chunk):
        logits = _logits(weights, chunk)
        targets = jax.nn.one_hot(chunk.labels, logits.shape[1], dtype=logits.dtype, axis=0)
        shifted = logits + shift[:, None]
        log_probs = jax.nn.log_softmax(shifted[-1], axis=0)
        loss = -jnp.sum(chunk.masks[:, -1] * jnp.sum(targets * log_probs, axis=0))
        errors = chunk.masks.T[:, None] * (jax.nn.softmax(shifted, axis=1) - targets)
        gradient = jnp.einsum("kcb,bd->kdc", errors, chunk.features, precision=HIGHEST)
        return (sums[0] + gradient, sums[1] + loss), _of_unseen(logits[:-1], chunk).T

    start = (jnp.zeros_like(weights), jnp.zeros((), weights.dtype))
    (gradient, loss), logits = jax.lax.scan(body, start, clean.chunks)
    return CleanPredictions(_join(logits, clean), gradient, loss / clean.number)


def moment(clean: CleanSet) -> jax.Array:
    """F_v^T Y_v [k + 1, d, c] of the clean rows that each classifier trains on."""
    classes = clean.targets.shape[1]

    def body(total, chunk):
        targets = jax.nn.one_hot(chunk.labels, classes, dtype=total.dtype, axis=0)
        kept = chunk.masks.T[:, None] * targets
        return total + jnp.einsum("kcb,bd->kdc", kept, chunk.features, precision=HIGHEST), None

    start = jnp.zeros((clean.masks.shape[0], clean.features.shape[1], classes), clean.features.dtype)
    return jax.lax.scan(body, start, clean.chunks)[0]


def _logits(weights: jax.Array, chunk: CleanChunk) -> jax.Array:
    """Class-major logits [k, c, b] of weights [k, d, c]."""
    return jnp.einsum("kdc,bd->kcb", weights, chunk.features, precision=HIGHEST)


def _of_unseen(logits: jax.Array, chunk: CleanChunk) -> jax.Array:
    """Selects for each row, from logits [k, c, b], those of the classifier without its fold, [c, b]."""
    unseen = chunk.folds == jnp.arange(logits.shape[0])[:, None]
    return jnp.sum(jnp.where(unseen[:, None], logits, 0.0), axis=0)


def _join(chunks: jax.Array, clean: CleanSet) -> jax.Array:
    return chunks.reshape(-1, chunks.shape[-1])[: clean.labels.shape[0]]


def stratified_folds(key: jax.Array, labels: jax.Array, num_folds: int) -> jax.Array:
    """Draws the fold index [m] in [0, num_folds) of every row; each class is spread as evenly as possible.

    The classes start at different folds, so that the folds' sizes differ by little even where every
    class has fewer rows than there are folds. Shapes do not depend on values, so it traces.

    Args:
        key: typed PRNG key.
        labels: class indices [m]; -1 for padding, which comes last and changes no other row's fold.
        num_folds: number of folds.
    """
    size, labels = labels.shape[0], jnp.asarray(labels, jnp.int32)
    shuffled = _permutation(key, size, jnp.sum(labels >= 0))
    # Padding is dealt out last.
    order = jnp.where(labels >= 0, labels, jnp.iinfo(jnp.int32).max)
    by_class = shuffled[jnp.argsort(order[shuffled], stable=True)]
    # Dealing the rows out in class order puts every class's rows into consecutive, hence distinct, folds.
    return jnp.zeros(size, jnp.int32).at[by_class].set(jnp.arange(size, dtype=jnp.int32) % num_folds)


def _permutation(key: jax.Array, size: int, count: jax.Array) -> jax.Array:
    """The indices below `count` in random order, then those from `count` to `size`, [size] int32.

    The first are those of `jax.random.permutation(key, count)` where, as by default, the bits that a key
    gives do not depend on how many are asked for. Sorting by 32 random bits is repeated, as there, so often
    that equal bits do not matter.
    """
    found = jnp.arange(size, dtype=jnp.int32)
    real = found < count
    most = jnp.iinfo(jnp.uint32).max
    for before in range(math.ceil(3.0 * math.log(max(size, 1)) / math.log(most))):
        key, own = jax.random.split(key)
        bits = jnp.where(real, jax.random.bits(own, (size,), jnp.uint32), jnp.uint32(most))
        mixed = jax.lax.sort_key_val(bits, found)[1]
        found = jnp.where(count > math.exp(before * math.log(most) / 3.0), mixed, found)
    return found


def train_masks(folds: jax.Array, num_folds: int) -> jax.Array:
    """Weights [num_folds + 1, m] of the clean rows: line k leaves fold k out, the last keeps every row."""
    kept = folds[None, :] != jnp.arange(num_folds + 1)[:, None]
    return kept.astype(jnp.float32)
