"""Defines the label model: p(true class | features, given label) as weighted evidence.

    log R(y) = sum_j w_j log P_j(y) + b pattern[y, g] + a log_odds [y = g] + const
    Q(y) = (1 - e) R(y) + e / c

P_j are four predictions that have not seen the row's own given label g: ridge regression on the labels of the
round before (Eq. 4, `kernel.py`), its discriminant analysis (`class_maps.py`), the probe of the clean rows
alone, and the classifier of the default rounds. `pattern` and `log_odds` are what g says, see `evidence.py`.
The numbers w, b, a and the lapse rate e are fitted to reviewed rows (`schedule.py`). With sum w = b = a = 1
this is Bayes' rule for mistakes that do not depend on the features, given the true class. People's mistakes
do depend on them: then g says less than that, and the fit finds a below 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.conditional_logit import ConditionalLogit, with_lapses
from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.posterior import e_step
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.reviewed import class_maps
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed.class_maps import ClassMaps, ScoreSums
from dmlp_jax.purifier.reviewed.evidence import NoiseEvidence
from dmlp_jax.purifier.reviewed.kernel import Kernel
from dmlp_jax.purifier.rows.chunks import Chunk

# Predictions of the model; `coefficients` holds a weight for each, then b, then a.
PREDICTORS = 4
# A row whose leverage is above has hardly any leave-one-out prediction.
MOST_LEVERAGE = 0.95


class FixedClassifiers(NamedTuple):
    """Classifiers that stay as they are while the labels change; leaves [k, ...], one for each fold.

    Attributes:
        probe: weights of the clean rows' probe, [k, d, c].
        default: label model of the default rounds.
    """

    probe: jax.Array
    default: LabelModel


class ReviewedModel(NamedTuple):
    """The label model of k classifiers, one without each fold of the clean rows and one with all.

    Attributes:
        ridge: weights of ridge regression on the labels less 1 / c, for k(x), [k, p + 1, c].
        leverage: mean leverage of a training row of weight 1 in it, [k].
        maps: its discriminant analysis.
        scales: inverse temperatures that calibrate the four predictions, [4].
        combination: w, b and a, [6], and the lapse rate.
        evidence: of a given label.
    """

    ridge: jax.Array
    leverage: jax.Array
    maps: ClassMaps
    scales: jax.Array
    combination: ConditionalLogit
    evidence: NoiseEvidence


class Sums(NamedTuple):
    """Sums over rows for the next round, of k classifiers.

    Attributes:
        moment: sum of k(x) (Q - 1 / c)^T, [k, p + 1, c].
        scores: for the class maps.
        counts: soft counts of true against given labels, by the last classifier, [c, c].
    """

    moment: jax.Array
    scores: ScoreSums
    counts: jax.Array


class Posterior(NamedTuple):
    """The model's answer for rows.

    Attributes:
        labels: Q, [k, c, b].
        scores: leave-one-out scores of ridge regression, [k, c, b].
        similarities: k(x), [b, p + 1].
    """

    labels: jax.Array
    scores: jax.Array
    similarities: jax.Array


def combine(predictions: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Sum of log-probabilities [4, ...] by the first four coefficients."""
    return jnp.tensordot(coefficients[:PREDICTORS], predictions, axes=1, precision=HIGHEST)


def posterior(
    model: ReviewedModel,
    fixed: FixedClassifiers,
    kernel: Kernel | None,
    chunk: Chunk,
    on_given: jax.Array | bool = False,
) -> Posterior:
    """Labels of rows [b, ...].

    The leave-one-out score of ridge regression is (s - h t) / (1 - h) with the row's target t and leverage h.
    The target is the row's label of the round before. It is not kept, so that memory does not grow with the
    rows: the model's own label for the row is taken in its place.

    Args:
        model: leaves [k, ...].
        fixed: likewise.
        kernel: of ridge regression, or None where it is linear.
        chunk: the rows.
        on_given: whether ridge regression was trained on the given labels, as in the first round.
    """
    coefficients = model.combination.theta
    similar = kernel_lib.similarities(kernel, chunk.features)
    raw = jnp.einsum("kpc,bp->kcb", model.ridge, similar, precision=HIGHEST)
    probe = jnp.einsum("kdc,bd->kcb", fixed.probe, chunk.features, precision=HIGHEST)
    default = e_step.leave_one_out_probs(fixed.default, chunk).logits
    of_given = (
        coefficients[PREDICTORS] * jnp.matmul(model.evidence.pattern, chunk.given.T, precision=HIGHEST)
        + coefficients[PREDICTORS + 1] * model.evidence.log_odds * chunk.given.T
    )
    others = [_log_probs(model.scales[2] * probe), _log_probs(model.scales[3] * default)]

    def labels_of(scores):
        mapped = jnp.einsum("ksy,ksb->kyb", model.maps.weights, scores, precision=HIGHEST)
        mapped += model.maps.bias[:, :, None]
        own = [_log_probs(model.scales[0] * scores), _log_probs(model.scales[1] * mapped)]
        probs = jax.nn.softmax(combine(jnp.stack(own + others), coefficients) + of_given, axis=1)
        return with_lapses(probs, model.combination.lapse, axis=1)

    target = jnp.where(on_given, chunk.given.T, labels_of(raw))
    alone = leave_one_out(raw, target, model.leverage, chunk.weight)
    return Posterior(labels_of(alone), alone, similar)


def leave_one_out(scores: jax.Array, target: jax.Array, leverage: jax.Array, weight: jax.Array) -> jax.Array:
    """Scores [k, c, b] without the effect of the rows' own targets [k, c, b], less 1 / c.

    Args:
        scores: of ridge regression with the rows.
        target: the rows' labels in it.
        leverage: of a row of weight 1, [k].
        weight: of the rows, [b].
    """
    share = jnp.minimum(leverage[:, None, None] * weight, MOST_LEVERAGE)
    return (scores - share * (target - 1.0 / scores.shape[1])) / (1.0 - share)


def sums(found: Posterior, chunk: Chunk) -> Sums:
    """The sums of a round over rows [b, ...] whose labels are `found`."""
    centred = chunk.weight * (found.labels - 1.0 / found.labels.shape[1])
    return Sums(
        jnp.einsum("kcb,bp->kpc", centred, found.similarities, precision=HIGHEST),
        class_maps.score_sums(found.labels, found.scores, chunk.weight),
        jnp.einsum("yb,bg->yg", chunk.weight * found.labels[-1], chunk.given, precision=HIGHEST),
    )


def first_sums(
    ridge: jax.Array, leverage: jax.Array, fixed: FixedClassifiers, kernel: Kernel | None, chunk: Chunk
) -> Sums:
    """The sums before the first round: scores of ridge regression on the given labels.

    Counts are those of the default classifier's leave-one-out predictions against the given labels.

    Args:
        ridge: weights [k, p + 1, c].
        leverage: see `ReviewedModel`.
        fixed: the other classifiers.
        kernel: see `posterior`.
        chunk: the rows.
    """
    similar = kernel_lib.similarities(kernel, chunk.features)
    raw = jnp.einsum("kpc,bp->kcb", ridge, similar, precision=HIGHEST)
    given = jnp.broadcast_to(chunk.given.T, raw.shape)
    alone = leave_one_out(raw, given, leverage, chunk.weight)
    probs = e_step.leave_one_out_probs(fixed.default, chunk).leave_one_out[-1]
    found = sums(Posterior(given, alone, similar), chunk)
    counts = jnp.einsum("yb,bg->yg", chunk.weight * probs, chunk.given, precision=HIGHEST)
    return found._replace(counts=counts)


def _log_probs(logits: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(logits, axis=1)
