"""Checks the arrays that are passed to `purify`; labels are checked in `label_checks.py`.

An error names the array, what is wrong, where, and how to mend it. Shapes and types are always checked.
Values are checked where they are concrete; under `jax.jit` or `jax.vmap` they are not known, and these checks
are skipped.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.rows.disk import is_on_disk


def is_traced(*arrays: Any) -> bool:
    """Whether a value is unknown because a jax transformation is tracing it."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))


def check_features(name: str, features: Any) -> Any:
    """Checks features [n, d]: real numbers, finite where concrete. Those on disk are returned as they are."""
    array = features if is_on_disk(features) else as_array(name, features)
    if len(array.shape) != 2 or 0 in array.shape:
        raise InputError(
            f"{name} must be a matrix [rows, features] with at least one of each, got shape "
            f"{tuple(array.shape)}; flatten each example to one row"
        )
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(f"{name} must hold real numbers, got {array.dtype}; convert them to float32")
    if not is_traced(array) and jnp.issubdtype(array.dtype, jnp.floating):
        _check_finite(name, array)
    return array


def _check_finite(name: str, array: Any) -> None:
    """Checks features [n, d] block by block, so that a matrix on disk is never loaded whole."""
    xp: Any = np
    step = max(1, 2**24 // array.shape[1])
    if isinstance(array, jax.Array):
        xp, step = jnp, array.shape[0]
    bad, first = 0, None
    for start in range(0, array.shape[0], step):
        with np.errstate(over="ignore"):
            block = xp.asarray(array[start : start + step], xp.float32)
        finite = xp.isfinite(block)
        if bool(xp.all(finite)):
            continue
        rows = xp.any(~finite, axis=1)
        bad += int(xp.sum(rows))
        if first is None:
            row = int(xp.argmax(rows))
            column = int(xp.argmax(~finite[row]))
            first = f"{name}[{start + row}, {column}] is {float(block[row, column])}"
    if first:
        raise InputError(
            f"{first} ({bad} of {array.shape[0]} rows hold NaN or infinity in float32); remove those rows or "
            "repair the features"
        )


def check_width(name: str, features: jax.Array, other: str, reference: jax.Array) -> None:
    """Checks that two feature matrices have the same number of columns."""
    if features.shape[1] != reference.shape[1]:
        raise InputError(
            f"{name} has {features.shape[1]} columns but {other} has {reference.shape[1]}; both must come "
            "from the same encoder"
        )


def check_weight(name: str, weight: Any, rows: int) -> jax.Array:
    """Checks row weights [rows]: where concrete, finite, not negative and not all zero."""
    array = as_array(name, weight)
    if array.ndim != 1:
        raise InputError(
            f"{name} must have shape [{rows}], got {tuple(array.shape)}; give one number for each row"
        )
    check_rows(name, array, rows)
    if not is_traced(array):
        xp, kind = (jnp, jnp.float32) if isinstance(array, jax.Array) else (np, np.float64)
        values = array.astype(kind)
        bad = ~(xp.isfinite(values) & (values >= 0))
        if bool(bad.any()):
            row = int(bad.argmax())
            raise InputError(f"{name}[{row}] is {array[row]}; weights must be finite and not negative")
        if not bool((values > 0).any()):
            raise InputError(f"{name} is zero for every row; at least one row must count")
        total = float(values.sum())
        if not 1e-30 <= total <= 1e30:
            raise InputError(
                f"{name} sums to {total:.3g}, which float32 cannot calculate with; scale the weights to a "
                "mean of 1"
            )
    return array.astype(jnp.float32)


def check_key(key: Any) -> jax.Array:
    """Returns one typed PRNG key of shape (); a `jax.random.PRNGKey` [2] is converted.

    Raises:
        InputError: the argument is not a key, or several keys.
    """
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise InputError(f"key must be a PRNG key, got {type(key).__name__}; pass jax.random.key(seed)")
    if key.shape != ():
        raise InputError(
            f"key must be one PRNG key, got keys of shape {key.shape}; pass one of them, or jax.vmap over "
            "them"
        )
    return key


def as_array(name: str, value: Any) -> Any:
    """The argument `name` as an array of numbers; arrays of JAX stay as they are.

    Raises:
        InputError: it holds something else than numbers.
    """
    if isinstance(value, jax.Array):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        if "features" in name:
            raise InputError(
                f"{name} must be an array of real numbers, got {type(value).__name__} of {array.dtype}; a "
                "sparse matrix becomes one by .toarray(), an array of objects by .astype(numpy.float32)"
            )
        raise InputError(
            f"{name} must be an array of numbers, got {array.dtype}; map names to numbers first, for "
            f"instance with numpy.unique({name}, return_inverse=True)"
        )
    return array


def check_rows(name: str, array: jax.Array, rows: int) -> None:
    """Raises an InputError unless an array has as many rows as its features."""
    if array.shape[0] != rows:
        raise InputError(
            f"{name} has {array.shape[0]} rows but its features have {rows}; give one for each row"
        )
