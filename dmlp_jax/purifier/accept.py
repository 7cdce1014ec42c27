"""Accepts labels at a stated risk: conformal selection (Jin and Candes 2023).

For a training row j the hypothesis is that its returned label is wrong. Calibration rows i, whose true
labels are known and which the purifier treated as training rows (`calibration/`), give it a p-value

    p_j = (w + u + sum_i w_i [label i wrong and confidence_i >= confidence_j]) / (w + u + sum_i w_i)

With weights w_i = w = 1 and u = 0 that is (1 + number of such rows) / (k + 1). The procedure of Benjamini and
Hochberg takes the rows of the smallest p-values, as many as it can, R, with p_(R) <= alpha R / n.

If calibration and training rows are exchangeable, as rows are that were drawn at random from one source, the
expected share of wrong labels among the accepted is at most alpha, in finite samples and whatever the
purifier does (Jin and Candes 2023, Selection by prediction with conformal p-values, with a score that is
infinite for right labels). A row's label may be given or changed, and hypotheses are as random as labels.

Where the clean set was stratified by class, w_i = pi / rho of the row's class (label shift; Jin and Candes
2023, Model-free selective inference under covariate shift). The class of row j is not known, so w is the
largest weight: p_j is never too small. The weights are estimated, and the bound then holds approximately,
better the more rows there are. u counts classes that have no calibration row as wrong. Ties count against
acceptance.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dmlp_jax.purifier import checks
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.result import Calibration

# Relative rounding error of a sum or a product in float32 that must not decide.
ROUNDING = 1e-6


class Accepted(NamedTuple):
    """Rows whose labels are accepted at a risk.

    Attributes:
        rows: whether the label of each training row is accepted, [n], bool.
        p_value: conformal p-value of each row's label being wrong, [n], in (0, 1].
        alpha: the risk, in (0, 1).
        calibration_rows: number of calibration rows that count, int32; -1 where the result has none because
            `purify` was not asked for them.
        needed: about how many calibration rows it would take to accept any label at this risk, if labels
            are wrong as often as among the present ones; infinite where no number would do.
        share: see `Calibration`.
    """

    rows: jax.Array
    p_value: jax.Array
    alpha: jax.Array
    calibration_rows: jax.Array
    needed: jax.Array
    share: jax.Array

    @property
    def reason(self) -> str:
        """Why no label is accepted, and how many more reviewed rows it would take; empty where some are.

        Needs one result with values: not under `jax.jit`, and of a batch from `jax.vmap` one at a time.
        """
        if np.any(self.rows):
            return ""
        there, alpha, needed = int(self.calibration_rows), float(self.alpha), float(self.needed)
        least = math.ceil(needed - 1e-3) if math.isfinite(needed) else 0
        if there < 0:
            return (
                "no reviewed rows were set aside to count mistakes: call purify(..., calibration=0.3) with "
                "the labels that the clean rows had before review (val_given_labels); a risk of "
                f"{alpha:g} takes at least {least:,} calibration rows that were drawn at random"
            )
        if not math.isfinite(needed):
            return (
                f"labels of the {there:,} calibration rows are wrong too often for a risk of {alpha:g} even "
                "where confidence is highest; more reviewed rows alone would hardly help, a larger alpha "
                "would, or better features"
            )
        if not there:
            return (
                f"there is no calibration row, and a risk of {alpha:g} takes at least {least:,}: clean rows "
                "that were drawn at random (val_random), whose label before review is known "
                "(val_given_labels), of classes with two clean rows or more"
            )
        more = max(math.ceil((least - there) / max(float(self.share), 1e-3)), 1)
        return (
            f"{there:,} calibration rows are too few for a risk of {alpha:g}: it takes about {least:,}; at "
            f"the same share that is about {more:,} more reviewed rows, drawn at random"
        )


def accept(result: Any, alpha: ArrayLike) -> Accepted:
    """Accepts labels whose expected share of wrong ones is at most alpha (conformal selection).

    The promise is a mean over repetitions: of the draw of the reviewed rows, and of the data. It assumes that
    the calibration rows were drawn at random from the same rows as the training rows, perhaps within each
    class, and that their true labels are true. It can be called inside `jax.jit` and `jax.vmap`.

    Args:
        result: of `purify(..., calibration=share, val_given_labels=given)`, arrays of JAX or NumPy.
        alpha: the risk: which share of the accepted labels may be wrong, in (0, 1).

    Returns:
        `Accepted`: `rows` [n], and a `reason` where there are none.

    Raises:
        InputError: alpha is not between 0 and 1.
    """
    if not checks.is_traced(alpha):
        number = np.asarray(alpha)
        if number.dtype.kind not in "fiu" or number.shape != () or not 0 < number < 1:
            raise InputError(
                f"alpha is {alpha!r}; give the share of accepted labels that may be wrong, between 0 and 1, "
                "for instance 0.05"
            )
    confidence = jnp.asarray(result.confidence)
    risk = jnp.asarray(alpha, jnp.float32)
    if result.calibration is None:
        never = jnp.zeros(confidence.shape, bool), jnp.ones(confidence.shape)
        return Accepted(*never, risk, jnp.int32(-1), jnp.ceil(1.0 / risk - 1.0), jnp.float32(0))
    return _accept(confidence, jax.tree.map(jnp.asarray, result.calibration), risk)


@jax.jit
def _accept(confidence: jax.Array, calibration: Calibration, alpha: jax.Array) -> Accepted:
    wrong = _wrong_above(confidence, calibration)
    total = jnp.sum(calibration.weight)
    added = calibration.largest + calibration.unseen
    p_values = (added + wrong) / (added + total)
    rows = benjamini_hochberg(p_values, alpha)
    counted = jnp.sum(calibration.weight > 0, dtype=jnp.int32)
    # Of weight 0 all: no row is accepted whatever the p-values, which are 1 then.
    return Accepted(
        rows, p_values, alpha, counted, _needed(confidence, wrong, calibration, alpha), calibration.share
    )


def _wrong_above(confidence: jax.Array, calibration: Calibration) -> jax.Array:
    """Weight [n] of the calibration rows with a wrong label of at least the confidence of each row [n]."""
    order = jnp.argsort(calibration.confidence)
    wrong = jnp.where(calibration.right, 0.0, calibration.weight)[order]
    # Sums of the entries from each place on; 0 beyond the end.
    from_here = jnp.append(jnp.cumsum(wrong[::-1])[::-1], 0.0)
    return from_here[jnp.searchsorted(calibration.confidence[order], confidence, side="left")]


def benjamini_hochberg(p_values: jax.Array, alpha: ArrayLike) -> jax.Array:
    """The hypotheses [n], bool, that Benjamini and Hochberg (1995) reject at alpha, by p-values [n]."""
    count = p_values.shape[0]
    ordered = jnp.sort(p_values)
    places = jnp.arange(1, count + 1)
    below = ordered <= alpha * (places / count) * (1.0 + ROUNDING)
    limit = jnp.max(jnp.where(below, ordered, -1.0))
    return p_values <= limit


def _needed(confidence: jax.Array, wrong: jax.Array, calibration: Calibration, alpha: jax.Array) -> jax.Array:
    """About how many calibration rows it takes to accept any label, scalar; see `Accepted`.

    With a share e of wrong labels of at least the confidence that a share s of the training rows reaches, k
    rows of mean weight v accept these where (w / v + k e) / (w / v + k) <= alpha s.
    """
    counted = jnp.maximum(jnp.sum(calibration.weight > 0), 1)
    total = jnp.sum(calibration.weight)
    mean = jnp.where(total > 0, total / counted, 1.0)
    error = (wrong + calibration.unseen) / jnp.where(total > 0, total + calibration.unseen, 1.0)
    ordered = jnp.sort(confidence)
    reached = 1.0 - jnp.searchsorted(ordered, confidence, side="left") / confidence.shape[0]
    risk = alpha * reached
    single = jnp.maximum(calibration.largest, mean) / mean
    enough = single * (1.0 - risk) / jnp.where(risk > error, risk - error, 1.0)
    return jnp.min(jnp.where(risk > error, enough, jnp.inf))
