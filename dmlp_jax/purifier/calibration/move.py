"""Moves calibration rows from the clean set to the training rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import checks
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.calibration.draw import Draw
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.rows import copies, disk

# Numbers of a block of features that is searched for copies; those on a device are searched at once.
BLOCK = 2**24


def move(drawn: Draw, features: Any, inputs: Inputs, num_classes: int) -> tuple[Any, Inputs]:
    """Moves the rows of a draw from the clean set to the end of the training rows.

    Training rows that are copies of them lose their weight, so that no row counts twice; see `copies.py`.

    Args:
        drawn: the calibration rows; none leaves everything as it is.
        features: of the training rows [n, d], in memory or on disk.
        inputs: the other arguments.
        num_classes: c.
    """
    taken, kept = drawn.taken, drawn.kept
    if inputs.val_given_labels is None or not taken.shape[0]:
        return features, inputs
    on_disk = disk.is_on_disk(features)
    more = _take(inputs.val_features, taken)
    if on_disk and checks.is_traced(more):
        raise InputError(
            "features are on disk and calibration draws rows inside jax.jit or jax.vmap; call purify "
            "outside, or load the features into memory"
        )
    clean_given, clean_random = inputs.val_given_labels, inputs.val_random
    votes = inputs.votes
    # Only rows of no use have no given label, and these have no weight.
    counts = _take(drawn.counts, taken)
    given: Any = jnp.where(counts, _take(clean_given, taken), _take(inputs.val_labels, taken))
    if inputs.labels.ndim == 2:
        given = jax.nn.one_hot(given, num_classes, dtype=inputs.labels.dtype)
    weight = inputs.sample_weight
    weight = jnp.ones(inputs.labels.shape[0], jnp.float32) if weight is None else jnp.asarray(weight)
    own = jnp.where(counts, jnp.mean(weight), 0.0)
    weight = _without_copies(features, weight, more)
    inputs = inputs._replace(
        labels=_join(inputs.labels, given),
        sample_weight=_join(weight, own),
        val_features=_take(inputs.val_features, kept),
        val_labels=_take(inputs.val_labels, kept),
        val_given_labels=_take(clean_given, kept),
        val_random=None if clean_random is None else _take(clean_random, kept),
        votes=None if votes is None else _join(votes, _take(inputs.val_votes, taken)),
        val_votes=None if votes is None else _take(inputs.val_votes, kept),
    )
    return disk.WithMoreRows(features, np.asarray(more)) if on_disk else _join(features, more), inputs


def _take(rows: Any, index: Any) -> Any:
    """Rows by index; NumPy arrays stay such unless the index is traced."""
    return (jnp.asarray(rows) if checks.is_traced(index) else rows)[index]


def _join(rows: Any, more: Any) -> Any:
    """Rows [n, ...] and more of them; NumPy arrays stay such, arrays of JAX stay on their device."""
    xp: Any = jnp if isinstance(rows, jax.Array) or checks.is_traced(more) else np
    return xp.concatenate([rows, more])


def _without_copies(features: Any, weight: jax.Array, more: Any) -> jax.Array:
    """Weights [n] of the training rows, 0 for copies of the rows `more` [k, d]."""
    more = jnp.asarray(more, jnp.float32)
    rows = features.shape[0]
    step = rows if isinstance(features, jax.Array) else max(1, BLOCK // features.shape[1])
    blocks = [_positions(more, jnp.asarray(features[start : start + step])) for start in range(0, rows, step)]
    return _weights(more, weight, jnp.concatenate(blocks))


@jax.jit
def _positions(more: jax.Array, rows: jax.Array) -> jax.Array:
    known = copies.of_clean_rows(more, jnp.ones(more.shape[0], bool))
    return copies.find(known, *copies.hashes(rows.astype(jnp.float32)))


@jax.jit
def _weights(more: jax.Array, weight: jax.Array, places: jax.Array) -> jax.Array:
    known = copies.of_clean_rows(more, jnp.ones(more.shape[0], bool))
    less = weight * copies.factors(known, copies.count(places, weight > 0, more.shape[0]), places)
    return jnp.where(jnp.sum(less) >= copies.LEAST_SHARE * jnp.sum(weight), less, weight)
