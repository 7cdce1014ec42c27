"""Checks labels of several annotators, integers [rows, a] with -1 where an annotator gave none."""

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


def check_votes(votes: Any, rows: int, num_classes: int | None) -> jax.Array:
    """Checks `labels` of training rows [rows, a]: every row and every annotator must have a label.

    Args:
        votes: the argument, array-like of integers with two axes.
        rows: expected number of rows.
        num_classes: c, or None where it is not known yet.
    """
    array = checks.as_array("labels", votes)
    checks.check_rows("labels", array, rows)
    if array.shape[1] < 2:
        raise InputError(
            f"labels has shape {tuple(array.shape)}: integers [n, a] are labels of two annotators or more; "
            "labels of one become class indices [n] by .ravel()"
        )
    if checks.is_traced(array):
        return array.astype(jnp.int32)
    _check_range("labels", array, num_classes)
    if bool(((array == 0) | (array == 1)).all()) and bool((array.sum(axis=1) == 1).all()):
        raise InputError(
            f"labels {list(array.shape)} of {array.dtype} hold a single 1 in every row, like one-hot labels; "
            "pass class indices by labels.argmax(axis=1). Integers [n, a] are labels of annotators; add a "
            "column of -1 if these are"
        )
    known = array >= 0
    _check_some("labels[{}]", known.any(axis=1), "rows", "leave it out, or add a label")
    _check_some("labels[:, {}]", known.any(axis=0), "annotators", "leave the column out")
    return _as_int32(array)


def check_val_votes(votes: Any, rows: int, annotators: int, num_classes: int) -> jax.Array:
    """Checks `val_given_labels`, what the same annotators gave to clean rows, [rows, annotators]."""
    array: Any = votes if isinstance(votes, jax.Array) else np.asarray(votes)
    if array.ndim != 2 or array.shape[1] != annotators or not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(
            f"val_given_labels has shape {tuple(array.shape)} of {array.dtype}, but labels have "
            f"{annotators} annotators; give the integer labels of the same annotators [m, {annotators}], -1 "
            "where one gave none"
        )
    checks.check_rows("val_given_labels", array, rows)
    if checks.is_traced(array):
        return array.astype(jnp.int32)
    _check_range("val_given_labels", array, num_classes)
    return _as_int32(array)


def check_every_class(votes: Any, num_classes: int) -> None:
    """Checks that every class was given to some row of `labels` [n, a], where these are concrete."""
    if checks.is_traced(votes):
        return
    xp: Any = jnp if isinstance(votes, jax.Array) else np
    often = xp.bincount(xp.where(votes >= 0, votes, num_classes).reshape(-1), minlength=num_classes + 1)
    absent = np.flatnonzero(np.asarray(often[:num_classes]) == 0)
    if len(absent):
        shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        raise InputError(
            f"labels: no annotator gave class {shown} ({len(absent)} of {num_classes} classes); without "
            "clean rows such a class cannot be found. Number the classes that were given 0, 1, 2, ..., or "
            "pass clean rows of every class as val"
        )


@partial(jax.jit, static_argnames="num_classes")
def majority(votes: jax.Array, num_classes: int) -> jax.Array:
    """Majority votes [n], see `votes.majority`; -1 for a row without votes."""
    known = jnp.any(votes >= 0, axis=1)
    return jnp.where(known, votes_lib.majority(votes, num_classes), -1)


def _check_range(name: str, array: Any, num_classes: int | None) -> None:
    bad = array < -1
    if num_classes is not None:
        bad |= array >= num_classes
    if bool(bad.any()):
        row, column = (int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        classes = "0, 1, 2, ..." if num_classes is None else f"0 to {num_classes - 1}"
        raise InputError(
            f"{name}[{row}, {column}] is {int(array[row, column])}, outside the classes {classes} "
            f"({int(bad.sum())} such labels); correct it, or write -1 where an annotator gave no label"
        )


def _check_some(place: str, present: Any, what: str, cure: str) -> None:
    """Raises an InputError at the first entry of `present`, of rows or annotators, that is False."""
    if not bool(present.all()):
        first = place.format(int(present.argmin()))
        raise InputError(
            f"{first} has no label: all its entries are -1 ({int((~present).sum())} such {what}); {cure}"
        )


def _as_int32(array: Any) -> Any:
    xp: Any = jnp if isinstance(array, jax.Array) else np
    return xp.asarray(array, xp.int32)
