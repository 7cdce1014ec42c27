"""Draws the clean rows that are set aside as calibration rows.

The draw is systematic: rows are put in order of their class, at random within a class, and every (1 / share)
row is taken, from a random start. So each row is taken with the same probability, and of every class about
the same share. Since at most half of the rows are taken, no class of two clean rows loses both. The purifier
needs a clean row of every class, so classes of one clean row give none; `Calibration.unseen` says for how
many rows these would stand.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import checks
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.program import Inputs

# Most of the rows that may be set aside: the clean set has to learn from the rest.
MOST_SHARE = 0.5


class Draw(NamedTuple):
    """Which clean rows are set aside.

    Attributes:
        taken: their indices [k], ascending.
        kept: the others, [m - k], ascending.
        counts: whether a clean row was drawn at random and its given label is known, [m], bool.
        alone: whether it is the only one of its class, [m], bool, where that keeps it from being taken.
        share: calibration rows over rows that could have been such, scalar.
    """

    taken: jax.Array
    kept: jax.Array
    counts: jax.Array
    alone: jax.Array
    share: jax.Array


def draw(calibration: Any, inputs: Inputs, num_classes: int) -> Draw:
    """Draws the calibration rows.

    Args:
        calibration: see `purify`, not None.
        inputs: the checked arguments.
        num_classes: c.

    Raises:
        InputError: the argument is neither a share nor one bool for each clean row, or asks for rows that
            cannot be calibration rows.
    """
    if _traced(inputs, calibration):
        return _draw(calibration, inputs, num_classes)
    # A concrete clean set gives a concrete draw even inside a caller's jit.
    with jax.ensure_compile_time_eval():
        return jax.tree.map(np.asarray, _draw(calibration, inputs, num_classes))


def _traced(inputs: Inputs, calibration: Any = None) -> bool:
    """Whether values that the draw depends on are traced."""
    return checks.is_traced(
        inputs.val_labels, inputs.val_given_labels, inputs.val_random, inputs.key, calibration
    )


def _draw(calibration: Any, inputs: Inputs, num_classes: int) -> Draw:
    labels, given = jnp.asarray(inputs.val_labels), inputs.val_given_labels
    rows = labels.shape[0]
    share = _check_share(calibration)
    if given is None:
        counts = jnp.zeros(rows, bool)
    else:
        counts = jnp.asarray(given) >= 0
        if inputs.val_random is not None:
            counts &= inputs.val_random
    if share is None:
        flags = _check_mask(calibration, counts, labels)
        order, count = jnp.asarray(np.argsort(~flags, stable=True)), int(flags.sum())
        alone = jnp.zeros(rows, bool)
    else:
        sizes = jnp.zeros(num_classes, jnp.int32).at[labels].add(1)
        alone = sizes[labels] == 1
        usable = counts & ~alone
        if _traced(inputs):
            count = 0 if given is None else int(share * rows)
            if count > rows - num_classes:
                raise InputError(
                    f"calibration is {share:g}, {count} of {rows} clean rows, but each of the {num_classes} "
                    "classes needs a clean row that stays; set fewer aside, or add clean rows"
                )
        else:
            count = int(share * int(usable.sum()))
        key = jax.random.fold_in(inputs.key, 7)
        order = _order(labels, usable, key, jnp.int32(count), num_classes)
    split = jnp.sort(order[:count]), jnp.sort(order[count:])
    able = jnp.maximum(jnp.sum(counts & ~alone), 1)
    return Draw(*split, counts, alone & counts, jnp.sum(counts[split[0]]) / able)


def _check_share(calibration: Any) -> float | None:
    """The share as a number, None for what else there is; a mask."""
    if isinstance(calibration, (bool, np.bool_)) or not isinstance(calibration, (int, float, np.number)):
        return None
    if not 0 < calibration <= MOST_SHARE:
        raise InputError(
            f"calibration is {calibration}; give the share of the reviewed rows to set aside, above 0 and at "
            f"most {MOST_SHARE}, or True or False for each clean row"
        )
    return float(calibration)


def _check_mask(calibration: Any, counts: jax.Array, labels: jax.Array) -> np.ndarray:
    """Checks flags [m] of the clean rows that are to be set aside."""
    flags = calibration if isinstance(calibration, jax.Array) else np.asarray(calibration)
    if flags.shape != labels.shape or flags.dtype != bool:
        raise InputError(
            f"calibration must be a share such as 0.3 or hold True or False for each of the {len(labels)} "
            f"clean rows, got {flags.dtype} of shape {tuple(flags.shape)}"
        )
    if checks.is_traced(flags):
        raise InputError(
            "calibration picks rows by True and False, but under jax.jit and jax.vmap their number must not "
            "depend on values; give a share, for instance calibration=0.3"
        )
    flags = np.asarray(flags)
    if checks.is_traced(counts, labels):
        return flags
    bad = np.flatnonzero(flags & ~np.asarray(counts))
    if bad.size:
        raise InputError(
            f"calibration[{bad[0]}] is True, but this clean row was not drawn at random (val_random) or its "
            f"label before review is unknown (val_given_labels) ({bad.size} such rows); set it to False"
        )
    lost = np.setdiff1d(np.asarray(labels), np.asarray(labels)[~flags])
    if lost.size:
        raise InputError(
            f"calibration sets aside all clean rows of class {lost[0]} ({lost.size} such classes); leave one "
            "row of each class in the clean set"
        )
    return flags


@partial(jax.jit, static_argnames="num_classes")
def _order(
    labels: jax.Array, usable: jax.Array, key: jax.Array, count: jax.Array, num_classes: int
) -> jax.Array:
    """All clean rows [m], those first that are set aside if `count` are; see the head of the file.

    Rows that are of no use are taken where too few others are left, but never the last of a class.
    """
    rows = labels.shape[0]
    order_key, start_key = jax.random.split(key)
    chance = jax.random.permutation(order_key, rows)
    total = jnp.sum(usable)
    step = jnp.minimum(count / jnp.maximum(total, 1), MOST_SHARE)
    steps = jnp.floor(jnp.arange(rows + 1) * step + jax.random.uniform(start_key))
    systematic = (steps[1:] > steps[:-1]) & (jnp.arange(rows) < total)
    by_class = jnp.lexsort((chance, labels, ~usable))
    taken = jnp.zeros(rows, bool).at[by_class].set(systematic)
    # Of each class one row that is not taken stays in any case.
    by_rest = jnp.lexsort((chance, taken, labels))
    first = jnp.diff(labels[by_rest], prepend=-1) != 0
    stays = jnp.zeros(rows, bool).at[by_rest].set(first) & ~taken
    rank = jnp.where(taken, 0, jnp.where(stays, 3, jnp.where(usable, 2, 1)))
    return jnp.lexsort((chance, rank))
