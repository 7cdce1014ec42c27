"""Runs the rounds that learn from reviewed rows, after the default rounds.

In every round the seven numbers of the label model (`label_model.py`) are fitted to reviewed rows, by the
evidence of classifiers that did not train on them. The label model then labels the training rows, and ridge
regression learns from these labels in the next round. This is the paper's bilevel problem with outer
variables that a few dozen rows can determine: ridge regression is the inner problem (Eq. 4), the outer loss
is that of the clean rows (Eq. 6), and seven numbers take the place of n x c labels.

The rounds are the gain: better labels make a better ridge regression, and reviewed rows keep it from drifting
towards the noisy source. After four rounds labels hardly change. The final labels are an average with those
of the default rounds (`averaging.py`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import conditional_logit, masked, pytrees, reliability, scores
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.temperature import smoothed
from dmlp_jax.purifier.posterior import classifier_errors, held_out, label_shift
from dmlp_jax.purifier.posterior import schedule as default_schedule
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.schedule import Fit
from dmlp_jax.purifier.posterior.state import Precomputed
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.result import HeldOut, Outcome
from dmlp_jax.purifier.reviewed import averaging, class_maps, evidence, kernel_ridge, label_model
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed.kernel_ridge import KernelRidge
from dmlp_jax.purifier.reviewed.label_model import PREDICTORS, FixedClassifiers, ReviewedModel, Sums
from dmlp_jax.purifier.rows import chunks, clean_set
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews
from dmlp_jax.purifier.rows.scaling import linear_classifier

ROUNDS = 4
# Prior of the weights: mean and standard deviation of that of a prediction, of b and of a.
PREDICTION = (0.85 / PREDICTORS, 0.4)
PATTERN = (0.5, 0.5)
LOG_ODDS = (0.7, 0.35)
# Prior of the lapse rate: its mean, and the number of reviewed rows that it is worth.
LAPSE = (0.02, 20.0)
# Weight of picked rows beside random ones in the calibration of predictions: they count where all are picked.
PICKED = 1e-3
# Standard deviation of the prior on an inverse temperature: none.
WIDE = 1e3


class _Round(NamedTuple):
    """A fitted round.

    Attributes:
        model: leaves [k + 1, ...] where classifiers differ by fold.
        logits: held-out log-probabilities of the clean rows, their given labels seen, [m, c].
        log_evidence: of the model, see `conditional_logit.log_evidence`.
        counting: weight of each clean row in counts, [m]; 0 for rows that were picked.
    """

    model: ReviewedModel
    logits: jax.Array
    log_evidence: jax.Array
    counting: jax.Array


def run(
    train: Training,
    clean: CleanSet,
    reviews: Reviews,
    probe: Probe,
    fit: Fit,
    count: int,
    precomputed: Precomputed,
    config: PurifyConfig,
) -> Outcome:
    """Learns from reviewed rows and labels the training rows.

    Args:
        train: the training rows.
        clean: the clean rows.
        reviews: what the noisy source gave to the clean rows.
        probe: the probe of the clean rows alone.
        fit: the result of the default rounds.
        count: number of training rows on this device.
        precomputed: see `race.precompute`.
        config: the settings.
    """
    kernel = kernel_lib.make(train, count, config.kernel_points)
    mapped = kernel_lib.clean_rows(kernel, clean)

    def of_given(chunk):
        similar = kernel_lib.similarities(kernel, chunk.features)
        weighted = chunk.weight[:, None] * similar
        return matmul(weighted.T, similar), matmul(weighted.T, chunk.given - 1.0 / chunk.given.shape[1])

    gram, centred = chunks.sum_over(of_given, train)
    solver = kernel_ridge.prepare(kernel, gram, mapped, precomputed.total, config.val_weight)
    fixed = FixedClassifiers(probe.weights, fit.fitted.model)
    default = fit.fitted.held_out - label_shift.log_ratio(clean.targets, fit.fitted.class_shares)
    others = jnp.stack([probe.held_out, default])
    weights = kernel_ridge.solve(solver, jnp.broadcast_to(centred, solver.clean_moment.shape))

    def first(_):
        return chunks.sum_over(
            lambda chunk: label_model.first_sums(weights, solver.leverage, fixed, kernel, chunk), train
        )

    def following(state):
        found, on_given = state
        return chunks.sum_over(
            lambda chunk: label_model.sums(
                label_model.posterior(found.model, fixed, kernel, chunk, on_given), chunk
            ),
            train,
        )

    def body(state, step):
        sums = jax.lax.cond(step == 0, first, following, (state, step == 1))
        trained = jnp.where(step == 0, weights, kernel_ridge.solve(solver, sums.moment))
        return _fit(trained, sums, others, solver, mapped, reviews), None

    shapes = jax.eval_shape(lambda: _fit(weights, first(None), others, solver, mapped, reviews))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    last = jax.lax.scan(body, empty, jnp.arange(ROUNDS))[0]
    model = last.model
    own = model._replace(
        ridge=model.ridge[-1:],
        leverage=model.leverage[-1:],
        maps=jax.tree.map(lambda leaf: leaf[-1:], model.maps),
    )
    own_fixed = jax.tree.map(lambda leaf: leaf[-1:], fixed)
    by_default = classifier_errors.separate_classifier_errors(fit.fitted, clean, config)
    of_default = held_out.log_posterior(by_default, reviews)
    averaged = averaging.average(of_default, last.logits, last.log_evidence, reviews, clean)

    def write(chunk: Chunk, _: None) -> tuple[jax.Array, jax.Array]:
        labels = label_model.posterior(own, own_fixed, kernel, chunk).labels[0].T
        quality = jnp.sum(labels * chunk.given, axis=1)
        both = default_schedule.write(by_default, chunk), (labels, quality)
        return jax.tree.map(functools.partial(averaging.mix, averaged.share), *both)

    head = pytrees.last(fit.fitted.model)
    return Outcome(
        write=write,
        rows=None,
        classifier=linear_classifier(head.weights / head.temperature, train.mean),
        held_out=_judge(averaged.logits, last.counting, clean, reviews),
        history=fit.history,
        chosen=fit.chosen,
        reviewed_rounds=ROUNDS,
        margin=1.0,
    )


def _fit(
    weights: jax.Array, sums: Sums, others: jax.Array, solver: KernelRidge, clean: CleanSet, reviews: Reviews
) -> _Round:
    """Fits the label model to reviewed rows, given ridge regression and sums of the labels it was trained on.

    Args:
        weights: of ridge regression, [k + 1, p + 1, c].
        sums: over the training rows.
        others: held-out logits of the clean rows by the other classifiers, [2, m, c].
        solver: see `kernel_ridge.py`.
        clean: the clean rows, mapped by the kernel.
        reviews: what they were given.
    """
    maps = class_maps.fit(sums.scores)
    shift = evidence.class_share_shift(sums.counts, reviews, clean)
    found = evidence.noise_evidence(sums.counts, reviews, clean, shift)
    # The constant comes last.
    analysed = matmul(weights, maps.weights).at[:, -1].add(maps.bias)
    unseen = [clean_set.held_out(own[:-1], clean) for own in (weights, analysed)]
    predictions = jnp.concatenate([jnp.stack(unseen), others])
    offset = reviews.random[:, None] * shift
    scales = _inverse_temperatures(predictions, offset, clean, reviews)
    predictions = jax.nn.log_softmax(scales[:, None, None] * predictions)
    of_given = (
        matmul(reviews.given, found.pattern.T),
        found.log_odds * reviews.given,
    )
    features = jnp.stack([*predictions, *of_given], axis=-1)
    mean, deviation = jnp.asarray([PREDICTION] * PREDICTORS + [PATTERN, LOG_ODDS], jnp.float32).T
    problem = (features, clean.targets, reviews.known, offset, mean, deviation)
    combination = conditional_logit.fit(*problem, *LAPSE, steps=20)
    model = ReviewedModel(weights, solver.leverage, maps, scales, combination, found)
    counting = reviews.random * jnp.exp(-matmul(clean.targets, shift[:, None])[:, 0])
    probs = jax.nn.softmax(matmul(features, combination.theta[:, None])[:, :, 0] + offset)
    return _Round(
        model,
        jnp.log(conditional_logit.with_lapses(probs, combination.lapse)),
        conditional_logit.log_evidence(*problem, combination),
        counting,
    )


def _inverse_temperatures(
    predictions: jax.Array, offset: jax.Array, clean: CleanSet, reviews: Reviews
) -> jax.Array:
    """Inverse temperatures [j] that calibrate predictions [j, m, c] of held-out clean rows, positive."""
    drawn = clean.real * jnp.maximum(reviews.random, PICKED)
    weight = drawn / masked.mean(drawn, clean.real)
    targets = smoothed(clean.targets)

    def of_one(logits):
        middle = masked.mean(jnp.mean(logits, axis=1), clean.real)
        spread = masked.mean(jnp.mean((logits - middle) ** 2, axis=1), clean.real)
        unit = jnp.maximum(jnp.sqrt(spread), jnp.finfo(logits.dtype).tiny)
        scaled = conditional_logit.fit(
            (logits / unit)[:, :, None], targets, weight, offset, jnp.ones(1), jnp.full(1, WIDE)
        )
        return jnp.maximum(scaled.theta[0], 0.01) / unit

    return jax.lax.map(of_one, predictions)


def _judge(logits: jax.Array, counting: jax.Array, clean: CleanSet, reviews: Reviews) -> HeldOut:
    """Scores of held-out log-probabilities [m, c]; `counting` is the weight of the clean rows, [m]."""
    hits = jnp.argmax(logits, axis=-1) == clean.labels
    bins = reliability.of_predictions(logits, clean.targets, counting)
    score = scores.score(logits, clean.targets, jnp.float32(1), counting)
    trust = jnp.sum(jnp.exp(logits) * reviews.given, axis=1)
    return HeldOut(hits, score, bins, 1, counting, trust)
