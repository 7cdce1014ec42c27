"""Checks the arguments of `purify` and brings them into the form that the program takes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dmlp_jax.purifier import checks, label_checks, sharded
from dmlp_jax.purifier.annotators import arguments as annotators
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.config import Config, PaperConfig, check_config
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.rows import disk


def _as_float32(value: Any) -> ArrayLike:
    """Converts a number of a configuration to float32; it stays on the device or on the host."""
    return value.astype(jnp.float32) if isinstance(value, jax.Array) else np.float32(value)


def check(
    features: ArrayLike,
    labels: ArrayLike,
    val: tuple[ArrayLike, ArrayLike] | None,
    num_classes: int | None,
    val_given_labels: ArrayLike | None,
    val_random: ArrayLike | None,
    sample_weight: ArrayLike | None,
    config: Config,
    key: jax.Array,
) -> tuple[Any, Inputs, int]:
    """Checks the arguments of `purify`, all of which are explained there.

    Returns:
        The features [n, d] (in memory, on disk or spread over devices), the other arguments, and the number
        of classes.

    Raises:
        InputError: an argument is malformed.
    """
    # Concrete arrays have values to check even inside a caller's jit.
    with jax.ensure_compile_time_eval():
        check_config(config)
        key = checks.check_key(key)
        if num_classes is not None:
            num_classes = label_checks.check_num_classes(num_classes)
        matrix = _check_training_features(features, config)
        rows, votes = matrix.shape[0], None
        given: Any = labels
        if annotators.are_votes(labels):
            _refuse_for_votes(config, val, val_given_labels, val_random)
            votes = annotators.check_votes(labels, rows, num_classes)
        else:
            given = label_checks.check_labels("labels", labels, rows, num_classes)
        val_features, val_labels = None, None
        if val is not None or votes is None:
            val_features, val_labels = _check_val(val, matrix, num_classes)
        known = [given if votes is None else votes] + ([] if val_labels is None else [val_labels])
        num_classes = label_checks.check_num_classes(num_classes, *known)
        random = val_given = val_votes = None
        if val_labels is not None:
            label_checks.check_range("val labels", val_labels, num_classes)
            label_checks.check_every_class("val labels", val_labels, num_classes)
            random = _check_random(val_random, len(val_labels))
            val_given, val_votes = _check_given(val_given_labels, votes, len(val_labels), num_classes)
        elif votes is not None:
            annotators.check_every_class(votes, num_classes)
        if sample_weight is not None:
            sample_weight = checks.check_weight("sample_weight", sample_weight, rows)
    inputs = Inputs(
        given if votes is None else annotators.majority(votes, num_classes),
        sample_weight,
        val_features,
        val_labels,
        val_given,
        random,
        # All numbers are float32, so that a new value never compiles a new program.
        jax.tree.map(_as_float32, config),
        key,
        votes,
        val_votes,
    )
    return matrix, inputs, num_classes


def _refuse_for_votes(config: Config, val: Any, val_given_labels: Any, val_random: Any) -> None:
    """Raises an InputError for arguments that do not go with labels of several annotators."""
    if isinstance(config, PaperConfig):
        raise InputError(
            "labels are those of several annotators, but the paper preset takes one label a row; use the "
            "default preset, or pass the majority vote"
        )
    for name, value in (("val_given_labels", val_given_labels), ("val_random", val_random)):
        if val is None and value is not None:
            raise InputError(f"{name} is given, but val is None; pass the clean rows as val, or leave it out")


def _check_val(val: Any, matrix: Any, num_classes: int | None) -> tuple[Any, jax.Array]:
    """Checks features [m, d] and true labels [m] of the clean rows."""
    val_features, val_labels = _unpack(val)
    if disk.is_on_disk(val_features):
        val_features = np.asarray(val_features[:])
    val_features = checks.check_features("val features", val_features)
    checks.check_width("val features", val_features, "features", matrix)
    val_labels = label_checks.check_classes(
        "val labels",
        val_labels,
        len(val_features),
        num_classes,
        ": clean labels are certain; pass their classes, for instance val_labels.argmax(axis=1)",
    )
    return val_features, val_labels


def _check_training_features(features: ArrayLike, config: Config) -> Any:
    """Checks the features of the training rows [n, d]; those on disk are returned without loading them."""
    on_disk = disk.is_on_disk(features)
    features = sharded.off_a_mesh_of_one(checks.check_features("features", features))
    where = "on disk" if on_disk else "spread over devices" if sharded.placement(features) else None
    if where and isinstance(config, PaperConfig):
        raise InputError(
            f"features are {where}, but the paper preset takes its rows in turn, batch after batch; load "
            "them into the memory of one device, or use the default preset"
        )
    return features


def _check_given(
    labels: ArrayLike | None, votes: jax.Array | None, rows: int, num_classes: int
) -> tuple[jax.Array | None, jax.Array | None]:
    """Checks the given labels of the clean rows, class indices or -1.

    Args:
        labels: the argument, [rows], with several annotators [rows, a]; or None.
        votes: labels of the training rows by several annotators [n, a]; None where each has one label.
        rows: number of clean rows.
        num_classes: c.

    Returns:
        One label of each row [rows], with several annotators the majority vote; and their votes [rows, a].
        None where all are unknown.
    """
    if labels is None:
        return None, None
    if votes is not None:
        val_votes = annotators.check_val_votes(labels, rows, votes.shape[1], num_classes)
        return annotators.majority(val_votes, num_classes), val_votes
    array = label_checks.check_classes(
        "val_given_labels",
        labels,
        rows,
        num_classes,
        "; pass the classes, for instance val_given_labels.argmax(axis=1)",
        or_unknown=True,
    )
    return (None if not checks.is_traced(array) and bool((array < 0).all()) else array), None


def _check_random(flags: ArrayLike | None, rows: int) -> jax.Array | None:
    """Checks which clean rows were drawn at random, [rows] booleans; None where all were."""
    if flags is None:
        return None
    array: Any = flags if isinstance(flags, jax.Array) else np.asarray(flags)
    if array.shape != (rows,):
        raise InputError(
            f"val_random has shape {tuple(array.shape)} but there are {rows} clean rows; give one True or "
            "False for each, [m]"
        )
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(
            f"val_random must hold True or False, got {array.dtype}; give True where the clean row was drawn "
            "at random and False where it was picked"
        )
    if checks.is_traced(array):
        return array.astype(bool)
    bad = (array != 0) & (array != 1)
    if bool(bad.any()):
        row = int(bad.argmax())
        raise InputError(
            f"val_random[{row}] is {array[row]}; give True (or 1) where the clean row was drawn at random "
            "and False (or 0) where it was picked"
        )
    return None if bool(array.all()) else array.astype(bool)


def _unpack(val: Any) -> tuple[Any, Any]:
    """Splits `val` into features and labels of the clean rows."""
    if val is None:
        raise InputError(
            "val is None: with one label a row purify needs clean rows; pass (val_features, val_labels). "
            "Only labels of two annotators or more, integers [n, a], can do without"
        )
    if not isinstance(val, (tuple, list)) or len(val) != 2:
        raise InputError(
            f"val must be a pair (val_features, val_labels), got {type(val).__name__}; pass the clean rows' "
            "features and their labels as a tuple"
        )
    return val[0], val[1]
