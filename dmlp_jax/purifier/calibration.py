"""Sets reviewed rows aside, so that `accept` can count wrong labels among rows that chose nothing.

A calibration row leaves the clean set and joins the training rows with the label that it was given. So the
purifier treats it as any training row, and its returned label is as likely wrong as theirs; only afterwards
is it compared with the true label. Rows that were drawn at random and whose label before review is known can
be calibration rows.

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
from dmlp_jax.purifier.result import Calibration, PurifyResult, over_rows
from dmlp_jax.purifier.rows import copies, disk

# Most of the rows that may be set aside: the clean set has to learn from the rest.
MOST_SHARE = 0.5
# Numbers of a block of features on disk that is searched for copies.
BLOCK = 2**24


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
    step = max(1, BLOCK // features.shape[1]) if disk.is_on_disk(features) else rows
    blocks = [
        _positions(more, jnp.asarray(features[start : start + step], jnp.float32))
        for start in range(0, rows, step)
    ]
    return _weights(more, weight, jnp.concatenate(blocks))


@jax.jit
def _positions(more: jax.Array, rows: jax.Array) -> jax.Array:
    known = copies.of_clean_rows(more, jnp.ones(more.shape[0], bool))
    return copies.find(known, *copies.hashes(rows))


@jax.jit
def _weights(more: jax.Array, weight: jax.Array, places: jax.Array) -> jax.Array:
    known = copies.of_clean_rows(more, jnp.ones(more.shape[0], bool))
    less = weight * copies.factors(known, copies.count(places, weight > 0, more.shape[0]), places)
    return jnp.where(jnp.sum(less) >= copies.LEAST_SHARE * jnp.sum(weight), less, weight)


def collect(drawn: Draw, result: PurifyResult, inputs: Inputs, num_classes: int) -> PurifyResult:
    """Takes the calibration rows out of a result again, and puts what `accept` needs into it.

    Args:
        drawn: the calibration rows.
        result: of `move`'s arguments.
        inputs: the arguments before they were moved.
        num_classes: c.
    """
    return _collect(drawn, result, inputs.val_labels, num_classes)


@partial(jax.jit, static_argnames="num_classes")
def _collect(drawn: Draw, result: PurifyResult, true: jax.Array, num_classes: int) -> PurifyResult:
    rows = result.labels.shape[0] - drawn.taken.shape[0]

    def head(array):
        return array[:rows]

    def whole(array):
        return array

    cut: Any = over_rows(head, whole)
    history = {
        name: (lambda array: array[:, :rows]) if name == "labels" else whole for name in result.history
    }
    cut = cut._replace(history=history)
    found: PurifyResult = jax.tree.map(lambda function, part: jax.tree.map(function, part), cut, result)
    weights = _class_weights(true, drawn.counts, jnp.mean(found.probs, axis=0), num_classes)
    counted = drawn.counts[drawn.taken]
    calibration = Calibration(
        confidence=result.confidence[rows:],
        right=result.labels[rows:] == true[drawn.taken],
        weight=jnp.where(counted, weights[true[drawn.taken]], 0.0),
        largest=jnp.max(weights),
        unseen=drawn.share * jnp.sum(jnp.where(drawn.alone, weights[true], 0.0)),
        share=drawn.share.astype(jnp.float32),
    )
    # Warnings name clean rows by their numbers.
    doubtful = jnp.zeros(true.shape[0], bool).at[drawn.kept].set(found.diagnostics["doubtful_clean_rows"])
    return found._replace(
        calibration=calibration, diagnostics={**found.diagnostics, "doubtful_clean_rows": doubtful}
    )


def _class_weights(labels: jax.Array, counts: jax.Array, shares: jax.Array, num_classes: int) -> jax.Array:
    """Weights pi / rho [c] that make classes as frequent among clean rows as among the training rows.

    As in `posterior/label_shift.py` only the deviation beyond sampling noise is corrected, so that rows that
    were drawn at random from all have weights of about 1. Classes without a row that counts have weight 1.

    Args:
        labels: true classes of the clean rows [m].
        counts: whether each counts, [m].
        shares: pi, of the classes among the training rows, [c].
        num_classes: c.
    """
    rows = jnp.zeros(num_classes).at[labels].add(counts.astype(jnp.float32))
    present = rows > 0
    among = jnp.sum(jnp.where(present, shares, 0.0))
    deviation = shares / jnp.maximum(among, jnp.finfo(shares.dtype).tiny) * jnp.sum(rows)
    deviation = jnp.where(present, deviation / jnp.maximum(rows, 1.0) - 1.0, 0.0)
    chance = jnp.maximum(jnp.sum(present) - 1.0, 1.0)
    shrunk = 1.0 - chance / jnp.maximum(jnp.sum(rows * deviation**2), chance)
    return jnp.maximum(1.0 + shrunk * deviation, 0.0)
