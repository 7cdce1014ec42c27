"""Checks the labels that are passed to `purify`: class indices, distributions, their classes.

See `checks.py` for what an error says and which values are checked.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.checks import as_array, check_rows, is_traced

_WRITE_UNKNOWN = "write -1 where the label is unknown"


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
