"""Brings the arguments of `LabelPurifier.fit` into the form that `purify` takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.data.row_subset import take_rows
from dmlp_jax.interop.sklearn_labels import (
    check_classes,
    check_every_class,
    encode,
    encode_given,
    label_array,
)
from dmlp_jax.interop.sklearn_votes import are_votes, encode_known_votes, encode_votes
from dmlp_jax.purifier import InputError, likely_clean
from dmlp_jax.purifier.annotators import votes as votes_lib


class FitRows(NamedTuple):
    """The rows of `fit`, with labels as class indices.

    Attributes:
        classes: the labels that occur, sorted, [c].
        codes: class index that each row of `fit` was given [n]; with several annotators the majority vote.
        train: the rows that are purified [k].
        held_out: the rows that are used as clean [n - k].
        features: features of the rows `train` [k, d].
        labels: their class indices [k], or those of several annotators [k, a].
        val: features [m, d] and true class indices [m] of the clean rows, or None.
        val_given: class indices that the noisy source gave to the clean rows [m] or [m, a], or None.
        assumption: a sentence on what the choice of `held_out` assumes; None without one.
    """

    classes: np.ndarray
    codes: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    features: Any
    labels: np.ndarray
    val: tuple[np.ndarray, np.ndarray] | None
    val_given: np.ndarray | None
    assumption: str | None = None


def prepare(
    features: Any,
    y: Any,
    clean: tuple[np.ndarray, np.ndarray] | None,
    val_given: Any,
    sample_weight: np.ndarray | None,
    val_size: float,
    key: jax.Array,
) -> FitRows:
    """Encodes the labels, and draws clean rows where labels of one source come without any.

    Args:
        features: checked features of the rows [n, d].
        y: their labels, [n] or [n, a].
        clean: checked features [m, d] and labels [m] of the clean rows, or None.
        val_given: labels that the noisy source gave to the clean rows, [m] or [m, a], or None.
        sample_weight: weight of each row [n], or None; a row of weight 0 is never drawn.
        val_size: share of the rows of every class to draw, in (0, 1).
        key: PRNG key of the draw.

    Raises:
        InputError: labels are malformed.
    """
    if are_votes(y):
        return _of_annotators(features, y, clean, val_given)
    given = label_array("y", y)
    if len(given) != len(features):
        raise InputError(f"y has {len(given)} labels but X has {len(features)} rows")
    if clean is None:
        return _held_out(features, given, sample_weight, val_size, key)
    classes, (codes, val_codes) = encode(given, clean[1])
    check_classes(classes)
    check_every_class(classes, val_codes)
    if val_given is not None:
        val_given = encode_given("val_given", val_given, classes, len(val_codes))
    return FitRows(classes, codes, *_all_of(codes), features, codes, (clean[0], val_codes), val_given)


def _of_annotators(
    features: Any, y: Any, clean: tuple[np.ndarray, np.ndarray] | None, val_given: Any
) -> FitRows:
    if len(y) != len(features):
        raise InputError(f"y has {len(y)} rows but X has {len(features)}")
    classes, votes, val_codes = encode_votes("y", y, None if clean is None else clean[1])
    check_classes(classes)
    val = None
    if clean is not None and val_codes is not None:
        check_every_class(classes, val_codes)
        val = clean[0], val_codes
        if val_given is not None:
            val_given = encode_known_votes("val_given", val_given, classes, len(val_codes))
    codes = np.asarray(votes_lib.majority(jnp.asarray(votes), len(classes)))
    return FitRows(classes, codes, *_all_of(codes), features, votes, val, val_given)


def _held_out(
    features: Any, given: np.ndarray, sample_weight: np.ndarray | None, val_size: float, key: jax.Array
) -> FitRows:
    """Holds out rows whose labels are likely right, and uses them as clean."""
    classes, (codes,) = encode(given)
    check_classes(classes)
    guess = likely_clean.estimate(features, codes, len(classes), sample_weight)
    # A row of weight 0 must not become a clean row.
    counts = np.arange(len(codes)) if sample_weight is None else np.flatnonzero(sample_weight)
    drawn = likely_clean.draw(guess.correct[counts], codes[counts], val_size, jax.random.fold_in(key, 1))
    held_out = counts[drawn]
    if len(held_out) == len(codes):
        raise InputError(
            f"every class has one row only, n_samples = {len(codes)}: no row is left to be purified; give a "
            "clean set, X_val and y_val"
        )
    train = np.setdiff1d(np.arange(len(codes)), held_out)
    return FitRows(
        classes,
        codes,
        train,
        held_out,
        take_rows(features, train),
        codes[train],
        (np.asarray(features[held_out]), codes[held_out]),
        None,
        f"no clean set: {len(held_out)} of {len(codes)} rows are held out and used as clean, those whose "
        f"labels are likely right if {guess.noise_rate:.0%} of all labels were replaced at random; noise "
        "that depends on the class is not found this way, so if you can, give rows whose labels are right "
        "as X_val and y_val",
    )


def _all_of(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows to purify, and none held out."""
    return np.arange(len(codes)), np.zeros(0, np.int64)
