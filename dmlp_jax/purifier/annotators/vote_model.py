"""Defines p(true class | features, votes) as weighted evidence.

    log R(y) = sum_j w_j log P_j(y) + b sum_a log T_a[y, g_a] + const
    Q(y) = (1 - e) R(y) + e / c

P_j are three predictions that have not seen the row's own votes g_a: kernel ridge regression on the labels of
the round before (Eq. 4), its discriminant analysis, and the probe of the clean rows where there are any. T_a
is the transition matrix of annotator a. With b = 1 votes would be independent given the true class. People
find the same rows hard, so their votes repeat each other, and the fitted b is below 1 (`schedule.py`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.annotators.noise import AnnotatorNoise
from dmlp_jax.purifier.base.conditional_logit import ConditionalLogit, with_lapses
from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.reviewed import class_maps
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed.class_maps import ClassMaps, ScoreSums
from dmlp_jax.purifier.reviewed.kernel import Kernel
from dmlp_jax.purifier.reviewed.label_model import Posterior, leave_one_out
from dmlp_jax.purifier.rows.chunks import Chunk

# Predictions of the model; `combination.theta` holds a weight for each, then b.
PREDICTORS = 3


class VoteModel(NamedTuple):
    """The model of k classifiers, one without each fold of the clean rows and one with all.

    Attributes:
        ridge: weights of ridge regression on the labels less 1 / c, for k(x), [k, p + 1, c].
        leverage: mean leverage of a training row of weight 1 in it, [k].
        maps: its discriminant analysis.
        probe: weights of the clean rows' probe, [k, d, c].
        scales: inverse temperatures that calibrate the three predictions, [3].
        combination: w and b, [4], and the lapse rate.
        noise: of the annotators.
    """

    ridge: jax.Array
    leverage: jax.Array
    maps: ClassMaps
    probe: jax.Array
    scales: jax.Array
    combination: ConditionalLogit
    noise: AnnotatorNoise


class Sums(NamedTuple):
    """Sums over rows for the next round, of k classifiers.

    Attributes:
        moment: sum of k(x) (Q - 1 / c)^T, [k, p + 1, c].
        scores: for the class maps.
        counts: soft counts of true class against vote by the last classifier, [a, c, c].
    """

    moment: jax.Array
    scores: ScoreSums
    counts: jax.Array


def posterior(
    model: VoteModel,
    kernel: Kernel | None,
    chunk: Chunk,
    votes: jax.Array,
    on_shares: jax.Array | bool = False,
) -> Posterior:
    """Labels of rows [b, ...].

    Leave-one-out scores take the model's own label for the label that a row was trained on, as in
    `reviewed/label_model.py`.

    Args:
        model: leaves [k, ...].
        kernel: of ridge regression, or None where it is linear.
        chunk: the rows.
        votes: theirs, [b, a].
        on_shares: whether ridge regression was trained on shares of votes, as in the first round.
    """
    similar = kernel_lib.similarities(kernel, chunk.features)
    raw = jnp.einsum("kpc,bp->kcb", model.ridge, similar, precision=HIGHEST)
    probe = jnp.einsum("kdc,bd->kcb", model.probe, chunk.features, precision=HIGHEST)
    theta = model.combination.theta
    told = theta[PREDICTORS] * votes_lib.log_likelihood(jnp.log(model.noise.own), votes).T
    told += theta[2] * _log_probs(model.scales[2] * probe)

    def labels_of(scores):
        own = [_log_probs(model.scales[0] * scores), _log_probs(model.scales[1] * map_scores(model, scores))]
        logits = jnp.tensordot(theta[:2], jnp.stack(own), axes=1, precision=HIGHEST)
        return with_lapses(jax.nn.softmax(logits + told, axis=1), model.combination.lapse, axis=1)

    target = jnp.where(on_shares, votes_lib.shares(votes, raw.shape[1]).T, labels_of(raw))
    alone = leave_one_out(raw, target, model.leverage, chunk.weight)
    return Posterior(labels_of(alone), alone, similar)


def map_scores(model: VoteModel, scores: jax.Array) -> jax.Array:
    """Logits [k, c, b] by discriminant analysis of scores [k, c, b]."""
    mapped = jnp.einsum("ksy,ksb->kyb", model.maps.weights, scores, precision=HIGHEST)
    return mapped + model.maps.bias[:, :, None]


def sums(found: Posterior, chunk: Chunk, votes: jax.Array) -> Sums:
    """The sums of a round over rows [b, ...] with votes [b, a], whose labels are `found`."""
    centred = chunk.weight * (found.labels - 1.0 / found.labels.shape[1])
    return Sums(
        jnp.einsum("kcb,bp->kpc", centred, found.similarities, precision=HIGHEST),
        class_maps.score_sums(found.labels, found.scores, chunk.weight),
        votes_lib.counts(found.labels[-1], votes, chunk.weight),
    )


def first_sums(
    ridge: jax.Array, leverage: jax.Array, kernel: Kernel | None, chunk: Chunk, votes: jax.Array
) -> Sums:
    """The sums before the first round: of ridge regression on shares of votes.

    Args:
        ridge: weights [k, p + 1, c].
        leverage: see `VoteModel`.
        kernel: see `posterior`.
        chunk: the rows.
        votes: theirs, [b, a].
    """
    similar = kernel_lib.similarities(kernel, chunk.features)
    raw = jnp.einsum("kpc,bp->kcb", ridge, similar, precision=HIGHEST)
    shares = jnp.broadcast_to(votes_lib.shares(votes, raw.shape[1]).T, raw.shape)
    alone = leave_one_out(raw, shares, leverage, chunk.weight)
    return sums(Posterior(shares, alone, similar), chunk, votes)


def _log_probs(logits: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(logits, axis=1)
