"""Checks the arrays that are passed to `purify`.

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

_WRITE_UNKNOWN = "write -1 where the label is unknown"


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


def check_classes(
    name: str, labels: Any, rows: int, num_classes: int | None, example: str, *, or_unknown: bool = False
) -> jax.Array:
    """Checks class indices [rows], in range where concrete; distributions are refused.

    Args:
        name: of the argument, for the message.
        labels: the argument, array-like.
        rows: expected number of rows.
        num_classes: c, or None where it is not known yet.
        example: end of the message, what to pass instead of distributions.
        or_unknown: whether -1 may stand for an unknown label.
    """
    array = check_labels(name, labels, rows, num_classes, or_unknown=or_unknown)
    if array.ndim != 1:
        raise InputError(f"{name} must be class indices [m], got shape {tuple(array.shape)}{example}")
    return array


def check_labels(
    name: str, labels: Any, rows: int, num_classes: int | None, *, or_unknown: bool = False
) -> jax.Array:
    """Checks labels: class indices [rows], or distributions [rows, c] where 2-d; in range where concrete."""
    array = as_array(name, labels)
    if array.ndim == 2:
        return _check_distributions(name, array, rows, num_classes)
    if array.ndim != 1:
        raise InputError(
            f"{name} must be class indices [n] or class probabilities [n, c], got shape "
            f"{tuple(array.shape)}; give one label, or one row of probabilities, for each row"
        )
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(
            f"{name} must hold integer class indices, got {array.dtype}{_first_fraction(name, array)}; "
            f"{_to_integers(array, or_unknown)}"
        )
    check_rows(name, array, rows)
    check_range(name, array, num_classes, or_unknown=or_unknown)
    return array


def check_num_classes(num_classes: int | None, *labels: Any) -> int:
    """Number of classes: the one given, else the width of distributions, else the largest index plus one."""
    if num_classes is None:
        widths = [x.shape[1] for x in labels if x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.floating)]
        if widths:
            return widths[0]
        if is_traced(*labels):
            raise InputError(
                "num_classes must be given under jax.jit and jax.vmap, where labels have no values yet"
            )
        # The array's own maximum: jax.numpy would first cut 64 bits down to 32.
        num_classes = 1 + max(int(array.max()) for array in labels)
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)):
        raise InputError(
            f"num_classes must be an integer, got {num_classes!r}; leave it out to count the labels"
        )
    if num_classes < 2:
        raise InputError(
            f"num_classes is {num_classes}: purification needs at least two classes; check that the labels "
            "are those meant"
        )
    return int(num_classes)


def check_every_class(name: str, labels: jax.Array, num_classes: int) -> None:
    """Checks that every class has a row among class indices [m], where these are concrete."""
    if is_traced(labels):
        return
    present = np.unique(np.asarray(labels))
    count = num_classes - len(present)
    if count:
        # Enough classes to find the first ten absent ones; a mistaken label may make `num_classes` huge.
        first = np.setdiff1d(np.arange(min(num_classes, len(present) + 10)), present)[:10]
        shown = ", ".join(map(str, first)) + (", ..." if count > 10 else "")
        from_one = "; classes count from 0, so subtract 1 if yours count from 1" if shown == "0" else ""
        raise InputError(
            f"{name} has no row of class {shown} ({count} of {num_classes} classes are absent); add at "
            f"least one clean example of each, or leave the class out of the training set{from_one}"
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


def _first_fraction(name: str, array: jax.Array) -> str:
    """Names the first label that is no whole number, ' (labels[4] is nan)'; empty if none is known."""
    if is_traced(array) or not jnp.issubdtype(array.dtype, jnp.floating):
        return ""
    values = np.asarray(array, np.float64)
    bad = ~np.isfinite(values) | (values != np.floor(values))
    return f" ({name}[{int(bad.argmax())}] is {values[bad.argmax()]})" if bad.any() else ""


def _to_integers(array: jax.Array, or_unknown: bool) -> str:
    """How labels of another type become class indices."""
    if is_traced(array) or not jnp.issubdtype(array.dtype, jnp.floating):
        return "map the classes to 0, 1, 2, ..., whole numbers and truth values by .astype(int)"
    values = np.asarray(array, np.float64)
    if np.isnan(values).any():
        without = _WRITE_UNKNOWN if or_unknown else "label these rows, or purify only those that have a label"
        return f"{without}, and map the classes to 0, 1, 2, ..., whole numbers by .astype(int)"
    if np.isfinite(values).all() and (values == np.floor(values)).all():
        return "they are whole numbers: make them integers by .astype(int)"
    return "map the classes to 0, 1, 2, ...; regression targets cannot be purified"


def check_range(name: str, array: jax.Array, num_classes: int | None, *, or_unknown: bool = False) -> None:
    """Checks that class indices, where concrete, are at least 0 and below the number of classes if known.

    With `or_unknown` they may also be -1.
    """
    if is_traced(array):
        return
    bad = array < (-1 if or_unknown else 0)
    if num_classes is not None:
        bad |= array >= num_classes
    if bool(bad.any()):
        row = int(bad.argmax())
        classes = "0, 1, 2, ..." if num_classes is None else f"0 to {num_classes - 1}"
        raise InputError(
            f"{name}[{row}] is {int(array[row])}, outside the classes {classes} ({int(bad.sum())} such "
            f"rows); {_into_range(array, or_unknown)}"
        )


def _into_range(array: jax.Array, or_unknown: bool) -> str:
    """How class indices outside the classes are mended."""
    if or_unknown:
        return f"correct it, or {_WRITE_UNKNOWN}"
    if np.array_equal(np.unique(np.asarray(array)), [-1, 1]):
        return "labels of -1 and 1 become class indices by (labels + 1) // 2"
    return "correct it, or purify only the rows that have a label"


def _check_distributions(name: str, array: jax.Array, rows: int, num_classes: int | None) -> jax.Array:
    check_rows(name, array, rows)
    if num_classes is not None and array.shape[1] != num_classes:
        raise InputError(
            f"{name} has {array.shape[1]} columns but num_classes is {num_classes}; give a probability for "
            "each class, or leave num_classes out"
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(
            f"{name} [n, c] must hold probabilities, got {array.dtype} of shape {tuple(array.shape)}; pass "
            "class indices [n], which a column [n, 1] becomes by .ravel() and one-hot rows by .argmax(axis=1)"
        )
    if not is_traced(array):
        xp = jnp if isinstance(array, jax.Array) else np
        values = xp.asarray(array, xp.float32)
        with np.errstate(invalid="ignore"):
            bad = ~((values >= 0).all(axis=1) & (xp.abs(values.sum(axis=1) - 1.0) < 1e-3))
        if bool(bad.any()):
            row = int(bad.argmax())
            raise InputError(
                f"{name}[{row}] is no distribution ({int(bad.sum())} such rows): entries must not be "
                "negative and must sum to 1"
            )
    return array
