"""Defines `purify`, which repairs noisy labels with a small clean set."""

from typing import Any

import jax
from jax.typing import ArrayLike

from dmlp_jax.purifier import arguments, checks, compiled, padding, sharded
from dmlp_jax.purifier.base import forked, lapack
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.calibration import collect, draw, move
from dmlp_jax.purifier.config import Config, PurifyConfig
from dmlp_jax.purifier.program import Inputs
from dmlp_jax.purifier.result import PurifyResult, reveal
from dmlp_jax.purifier.rows import disk


@lapack.with_one_thread
def purify(
    features: ArrayLike,
    labels: ArrayLike,
    val: tuple[ArrayLike, ArrayLike] | None,
    *,
    num_classes: int | None = None,
    val_given_labels: ArrayLike | None = None,
    val_random: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    calibration: ArrayLike | None = None,
    config: Config | None = None,
    key: jax.Array | None = None,
) -> PurifyResult:
    """Repairs the labels of a training set with the help of a small clean validation set.

    A pure function: no files, no printing, no global state; the same arguments give the same result. It can
    be called inside `jax.jit` and `jax.vmap` (then `num_classes` is required and values are not checked).

    Args:
        features: features of the training rows [n, d], from an encoder that did not see these labels, any
            type of number. Any overall scale; columns are not standardised. A NumPy memory map, or another
            array-like that is sliced from disk, is never loaded whole: it is read once in every round (twice
            with `keep_label_history`), and a few times before and after. A `jax.Array` whose rows are spread
            over devices or hosts stays spread, and so do the results; this does not work inside `jax.jit`.
            The paper preset needs features in the memory of one device.
        labels: given, partly wrong labels of the training rows: class indices [n], or distributions [n, c]
            (floats), or the labels of a >= 2 annotators, integers [n, a], -1 where one gave none. People,
            labelling functions and language models are annotators alike.
        val: the clean set: features [m, d] from the same encoder and true class indices [m], every class
            present. Copies of these rows among the training rows do not count twice. None only with labels
            of several annotators; no accuracy is claimed then.
        num_classes: c; by default the largest label plus one.
        val_given_labels: class indices [m] that the noisy source gave to the clean rows, their labels before
            review; -1 where one is unknown. With several annotators [m, a]. They show what a given label is
            worth, and make the given labels comparable with the purified ones; see `PurifyResult.scores`.
        val_random: whether each clean row was drawn at random, perhaps within its class [m], bool. False
            where a row was picked, because it looked suspicious or for another reason: the mistakes among
            picked rows do not show how frequent mistakes are. By default all were drawn at random.
        sample_weight: weight of each training row [n], not negative, 1 by default: a row of weight 2 counts
            as two rows.
        calibration: clean rows to set aside for `accept`, a share of those drawn at random whose given label
            is known, at most 0.5, or True or False for each clean row [m]. They are purified like training
            rows, with their given labels, and only counted afterwards; `PurifyResult.calibration` has them,
            and every other field is about the other rows. By default none: the clean set learns from all.
        config: settings; `PurifyConfig()` is the default purifier, `PurifyConfig.paper()` the paper's.
        key: typed PRNG key (`jax.random.key`) for the folds of the clean set; `jax.random.key(0)` by default.

    Returns:
        A `PurifyResult`.

    Raises:
        InputError: (a ValueError) an argument is malformed; the message names it, the first offending
            index and the remedy. Or this process was forked from one that had used JAX, where no call ends.
    """
    forked.refuse()
    config = PurifyConfig() if config is None else config
    key = jax.random.key(0) if key is None else key
    matrix, inputs, num_classes = arguments.check(
        features, labels, val, num_classes, val_given_labels, val_random, sample_weight, config, key
    )
    if calibration is None:
        return _run(matrix, inputs, num_classes)
    if inputs.val_labels is None:
        raise InputError(
            "calibration sets clean rows aside, but val is None; pass clean rows, or leave calibration out"
        )
    if sharded.placement(matrix) is not None:
        raise InputError(
            "calibration adds rows to the features, which are spread over devices; load these into the "
            "memory of one device or leave them on disk, or leave calibration out"
        )
    drawn = draw.draw(calibration, inputs, num_classes)
    result = _run(*move.move(drawn, matrix, inputs, num_classes), num_classes)
    return collect.collect(drawn, result, inputs, num_classes)


def _run(matrix: Any, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Runs the program on checked arguments, wherever their rows are."""
    if disk.is_on_disk(matrix):
        return reveal(padding.around(compiled.from_disk, matrix, inputs, num_classes))
    placement = sharded.placement(matrix)
    if placement is not None:
        if checks.is_traced(inputs):
            raise InputError(
                "features are spread over devices: call purify outside jax.jit and jax.vmap, it is compiled "
                "for the devices as it is"
            )
        return reveal(sharded.run(placement, matrix, inputs, num_classes))
    return reveal(padding.around(compiled.in_memory, matrix, inputs, num_classes))
