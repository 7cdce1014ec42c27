"""Separates classifier errors S from label noise T' with clean rows, whose labels are known.

A confident wrong prediction looks like a wrong label. So T, counted against predictions, shows noise even
where the given labels have none: the errors of a classifier that fits its rows badly are taken for label
noise. Clean rows are training rows whose given label is known to be right, so they show how much of T is the
classifier's. With N the noise of T, its off-diagonal part, and r the mean of N's row sums, a prediction p is
taken to be right up to errors of that pattern,

    p S,   S = I - (e / r) (diag(N 1) - N),

at the rate e that makes the clean labels likeliest. Then p S predicts the true label, and the given label
follows from it with a T' that has less noise: S T' is about T.

Where over 30 % of a class carries one other label, the classifier has learned that confusion, and S would
excuse it in every row and leave the labels wrong. Such noise is hardly the classifier's: these classes are
left out of N. With two classes all wrong labels are of one kind, and the rule does not apply.

What S explains need not be explained by lower confidence in every row, so the temperature is fitted together
with S.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import masked, pytrees
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.roots import bisect
from dmlp_jax.purifier.base.temperature import TemperatureEvidence, fit_temperature
from dmlp_jax.purifier.posterior import label_shift
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.state import FittedModel
from dmlp_jax.purifier.posterior.transition import positive
from dmlp_jax.purifier.rows.clean_set import CleanSet

# Fall of a log-likelihood from its peak to the one-sided 95 % confidence limit, 1.645^2 / 2.
LIMIT = 1.353
# Greatest margin of e that counts as uncertainty, a noise rate: a few clean rows leave far more.
CAUTION = 0.02
# Steps of expectation maximisation for S and the temperature, on the clean rows.
ITERATIONS = 8
# Noise of one kind: one other class has more than this share of a class's labels, and of the wrong ones more
# than this way from an even share to all.
OFTEN, MOSTLY = 0.3, 0.5


class ErrorRate(NamedTuple):
    """The part of T's noise rate that is due to classifier errors, scalars.

    Attributes:
        rate: e of the greatest likelihood.
        margin: distance from e to its upper 95 % confidence limit, at most `CAUTION`.
    """

    rate: jax.Array
    margin: jax.Array


class SeparatedErrors(NamedTuple):
    """Classifier errors and label noise, separated.

    Attributes:
        temperature: divides the calibrated logits before S is applied, scalar.
        errors: S, p(true class | predicted class), [c, c].
        transition: T', p(given | true), [c, c].
        margin: see `ErrorRate`.
        logits: log(p S) of the clean rows, with their class shares, [m, c].
    """

    temperature: jax.Array
    errors: jax.Array
    transition: jax.Array
    margin: jax.Array
    logits: jax.Array


class FinalModel(NamedTuple):
    """The model that writes the final labels, see `e_step.posterior_labels`.

    Attributes:
        model: label model of the classifier trained on all clean rows, without a leading axis.
        errors: S, [c, c]; None where errors are not separated.
        transition: T' at the likeliest error rate, [c, c].
        cautious_transition: [c, c], T' that labels are written by, with less noise where its rate is
            uncertain.
        held_out: held-out logits of the true class of the clean rows, corrected by S, [m, c].
    """

    model: LabelModel
    errors: jax.Array | None
    transition: jax.Array
    cautious_transition: jax.Array
    held_out: jax.Array


def separate_classifier_errors(fitted: FittedModel, clean: CleanSet, config: PurifyConfig) -> FinalModel:
    """Builds the final model: separates the classifier's errors from the noise of the given labels.

    Args:
        fitted: the model after the rounds and `lda.refine`.
        clean: the clean rows.
        config: the settings; without `posterior` T carries no evidence and stays as it is.
    """
    model = pytrees.last(fitted.model)
    if not config.posterior:
        return FinalModel(model, None, model.transition, model.transition, fitted.held_out)
    shift = label_shift.log_ratio(clean.targets, fitted.class_shares)
    # The held-out logits are divided by a temperature already, so the evidence is made relative to it.
    log_temperature = fitted.evidence.log_temperature - jnp.log(model.temperature)
    evidence = fitted.evidence._replace(log_temperature=log_temperature)
    found = fit(model.transition, fitted.held_out - shift, clean.targets, evidence, shift)
    return FinalModel(
        model._replace(temperature=model.temperature * found.temperature),
        found.errors,
        found.transition,
        shrink_uncertain_noise(found.transition, found.margin),
        found.logits,
    )


def fit(
    matrix: jax.Array,
    logits: jax.Array,
    targets: jax.Array,
    evidence: TemperatureEvidence,
    shift: jax.Array,
) -> SeparatedErrors:
    """Fits S and its temperature by expectation maximisation over the predicted class of each clean row.

    Given S, the predicted class y' has the distribution p_y' S[y', y_v], up to a factor. The next temperature
    is the one that calibrates predictions for these targets.

    Args:
        matrix: T, [c, c].
        logits: logits of held-out clean rows at the temperature that calibrates them, without the clean rows'
            class shares, [m, c].
        targets: one-hot [m, c].
        evidence: of the training rows on the temperature, its log temperature relative to that of `logits`.
        shift: see `label_shift.log_ratio`, [c].
    """

    def separated(temperature):
        probs = jax.nn.softmax(logits / temperature)
        found = error_rate(matrix, probs, targets, shift)
        return probs, found, error_matrix(matrix, found.rate)

    def body(_, temperature):
        probs, _, errors = separated(temperature)
        meant = probs * matmul(targets, errors.T)
        meant = meant / jnp.maximum(jnp.sum(meant, axis=1, keepdims=True), jnp.finfo(meant.dtype).tiny)
        # How much more frequent a predicted class is among clean rows.
        shift_of_predicted = jnp.log(matmul(errors, jnp.exp(shift)[:, None])[:, 0])
        return fit_temperature(logits, meant, evidence, temperature, shift_of_predicted)

    temperature = jax.lax.fori_loop(0, ITERATIONS, body, jnp.ones((), logits.dtype))
    probs, found, errors = separated(temperature)
    corrected = jnp.log(jnp.maximum(matmul(probs, errors), jnp.finfo(probs.dtype).tiny)) + shift
    remaining = remove_noise_rate(matrix, found.rate)
    return SeparatedErrors(temperature, errors, remaining, found.margin, corrected)


def error_rate(matrix: jax.Array, probs: jax.Array, targets: jax.Array, shift: jax.Array) -> ErrorRate:
    """Estimates e by maximum likelihood of the clean labels y_v under p_v S, and its margin.

    Args:
        matrix: T, [c, c].
        probs: calibrated predictions for held-out clean rows, without the clean rows' class shares, [m, c].
        targets: one-hot [m, c].
        shift: see `label_shift.log_ratio`, [c].
    """
    noise = _separable_noise(matrix)
    leaving, rate = jnp.sum(noise, axis=1), _rate(noise)
    tiny = jnp.finfo(probs.dtype).tiny
    change = (matmul(probs, noise) - probs * leaving) / rate
    real = masked.of_targets(targets)
    # Class y is exp(shift_y) times as frequent among clean rows; first for y_v, then for the normaliser.
    often = jnp.stack([targets * jnp.exp(shift), jnp.broadcast_to(jnp.exp(shift), targets.shape)])
    level, slope = jnp.sum(probs * often, axis=-1), jnp.sum(change * often, axis=-1)

    def log_likelihood(e):
        right, norm = jnp.log(jnp.maximum(level + e * slope, tiny))
        return jnp.sum(real * (right - norm))

    def rises(e):
        right, norm = slope / jnp.maximum(level + e * slope, tiny)
        return jnp.sum(real * (right - norm)) > 0

    # Beyond, some row of S would not be a distribution.
    largest = jnp.minimum(rate / jnp.maximum(jnp.max(leaving), rate), 1.0)
    likeliest = bisect(rises, jnp.zeros_like(largest), largest, steps=20)
    height = log_likelihood(likeliest)
    limit = bisect(lambda e: log_likelihood(e) > height - LIMIT, likeliest, largest, steps=20)
    return ErrorRate(likeliest, jnp.minimum(limit - likeliest, CAUTION))


def error_matrix(matrix: jax.Array, rate: jax.Array) -> jax.Array:
    """S [c, c], p(true class | predicted class), for T [c, c] and a rate e of classifier errors."""
    noise = _separable_noise(matrix)
    mistakes = rate / _rate(noise) * noise
    return positive(jnp.eye(len(matrix), dtype=matrix.dtype) + mistakes - jnp.diag(jnp.sum(mistakes, axis=1)))


def remove_noise_rate(matrix: jax.Array, rate: jax.Array) -> jax.Array:
    """T' [c, c], p(given class | true class), for T [c, c] and a rate e: no noise where e is all of T's.

    This is S^-1 T where wrong labels are drawn uniformly from all other classes. Otherwise N keeps its
    pattern, at the rate that would remain in that case: S^-1 T itself may have negative entries, and S no
    inverse.

    Args:
        matrix: T, [c, c].
        rate: e, scalar.
    """
    return _with_less_noise(matrix, _separable_noise(matrix), rate)


def shrink_uncertain_noise(matrix: jax.Array, margin: jax.Array) -> jax.Array:
    """T' [c, c] with less noise where its rate is uncertain, so that labels are then left alone.

    Noise at a rate below the margin may be none and is removed; a greater rate r is reduced by margin^2 / r
    (shrinkage as of James and Stein 1961).
    """
    noise = _off_diagonal(matrix)
    return _with_less_noise(matrix, noise, margin * jnp.minimum(margin / _rate(noise), 1.0))


def _with_less_noise(matrix: jax.Array, noise: jax.Array, less: jax.Array) -> jax.Array:
    """Reduces a part of T's noise, [c, c], by the noise rate `less`; returns T [c, c]."""
    rate, classes = _rate(noise), len(matrix)
    share = jnp.minimum(less / rate, 1.0)
    # At this noise rate a label carries no information.
    chance = (classes - 1) / classes
    kept = (1.0 - share) / jnp.maximum(1.0 - share * jnp.minimum(rate / chance, 1.0), 1e-6)
    gone = (1.0 - jnp.where(share < 1.0, kept, 0.0)) * noise
    return positive(matrix - gone + jnp.diag(jnp.sum(gone, axis=1)))


def _separable_noise(matrix: jax.Array) -> jax.Array:
    """The noise of T [c, c], 0 in the rows of classes that often carry one particular other label."""
    noise = _off_diagonal(matrix)
    largest = jnp.max(noise, axis=1)
    # Even shares of the wrong labels are 1 / (c - 1).
    mostly = MOSTLY + (1.0 - MOSTLY) / (len(matrix) - 1)
    one_kind = (largest > OFTEN) & (largest > mostly * jnp.sum(noise, axis=1))
    return jnp.where(one_kind[:, None], 0.0, noise)


def _off_diagonal(matrix: jax.Array) -> jax.Array:
    return matrix * (1.0 - jnp.eye(len(matrix), dtype=matrix.dtype))


def _rate(noise: jax.Array) -> jax.Array:
    """Mean noise rate over the classes of an off-diagonal matrix [c, c], positive."""
    return jnp.maximum(jnp.mean(jnp.sum(noise, axis=1)), jnp.finfo(noise.dtype).tiny)
