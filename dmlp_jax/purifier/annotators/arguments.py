"""Checks the labels of several annotators."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import checks
from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.base.errors import InputError


def are_votes(labels: Any) -> bool:
    """Whether labels are those of several annotators: integers with two axes."""
    array = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    return array.ndim == 2 and bool(jnp.issubdtype(array.dtype, jnp.integer))


def check_val_votes(votes: Any, rows: int, annotators: int, num_classes: int) -> jax.Array:
    """Checks labels that annotators gave to clean rows, integers [rows, annotators] or -1."""
    array: Any = votes if isinstance(votes, jax.Array) else np.asarray(votes)
    if array.ndim != 2 or array.shape[1] != annotators or not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(
            f"val_given_labels has shape {tuple(array.shape)} of {array.dtype}, but labels have "
            f"{annotators} annotators; give the integer labels of the same annotators [m, {annotators}], -1 "
            "where one gave none"
        )
    return checks.check_votes("val_given_labels", array, rows, num_classes, complete=False)


@partial(jax.jit, static_argnames="num_classes")
def majority(votes: jax.Array, num_classes: int) -> jax.Array:
    """Majority votes [n], see `votes.majority`; -1 for a row without votes."""
    known = jnp.any(votes >= 0, axis=1)
    return jnp.where(known, votes_lib.majority(votes, num_classes), -1)
