"""Computes the E-step: the posterior of every training row's true class, and the sums for the M-step.

For k classifiers at once, row weights left out:

    P_i = leave-one-out prediction of the classifier for row i
    Q_i ~ P_i * T[:, given_i]                      posterior by Bayes' rule, in place of EAC's write (Eq. 9)
    gradient = sum_i F_i (softmax(F_i W) - Y_i)    of EAC's cross-entropy to the labels Y = Q (Eq. 8)
    counts = sum_i Q_i given_i^T                   from which the next T is estimated

Arrays over rows are class-major, [k, c, b]: vector units then run along the rows, and the products with the
features are plain matrix products [k c, d] x [d, b].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.rows.chunks import Chunk


class LabelModel(NamedTuple):
    """A classifier and the label noise it assumes: together they give p(true class | row, given label).

    Leaves [k, ...] for k of them.

    Attributes:
        weights: of the classifier, [d, c].
        transition: T, the estimate of p(given | true) that its labels are written by; classifier errors are
            counted as label noise in it, [c, c].
        leverage: how far a row's written label has moved its own logits, see `leave_one_out.py`; scalar.
        given_label_leverage: how far its given label has, through the probe that the classifier started
            from; scalar.
        temperature: divides the logits, so that the prediction is calibrated; scalar.
    """

    weights: jax.Array
    transition: jax.Array
    leverage: jax.Array
    given_label_leverage: jax.Array
    temperature: jax.Array


class Prediction(NamedTuple):
    """Predictions for rows, [k, c, b] each.

    Attributes:
        probs: the classifier's softmax, to which each row's own label has contributed.
        residual: `probs` minus the posterior with them as the prior.
        logits: leave-one-out logits over the temperature.
        leave_one_out: their softmax.
        likelihood: p(given | y) by the model's T.
    """

    probs: jax.Array
    residual: jax.Array
    logits: jax.Array
    leave_one_out: jax.Array
    likelihood: jax.Array


class Expectation(NamedTuple):
    """The result of the E-step for rows.

    Attributes:
        labels: posterior Q of the true class, [k, c, b].
        probs: see `Prediction`.
        residual: see `Prediction`.
        slopes: of the given label's log-likelihood in the log of the temperature and in that of T's noise
            rate, [k, 2, b]; see `temperature_evidence.py`.
    """

    labels: jax.Array
    probs: jax.Array
    residual: jax.Array
    slopes: jax.Array


class Sums(NamedTuple):
    """Sums over rows for k classifiers.

    Attributes:
        gradient: gradient of the rows' cross-entropy in the weights, [k, d, c].
        counts: soft counts of true against given labels, [k, c, c].
        squares: sum of the squared residuals, see `Prediction`, [k].
        slopes: sums of the slopes in `Expectation`, [k, 2].
        curvature: sums of the products of these slopes, [k, 2, 2].
        moment: F^T Q of the labels before IPC moves them, [k, d, c]; None without IPC.
    """

    gradient: jax.Array
    counts: jax.Array
    squares: jax.Array
    slopes: jax.Array
    curvature: jax.Array
    moment: jax.Array | None = None


def bayes(prior: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """p(y | x, given) by Bayes' rule, [k, c, b], and p(given | x) up to the factor of `prior`, [k, 1, b].

    Args:
        prior: p(y | x), up to a factor for each row, [k, c, b].
        likelihood: p(given | y), [k, c, b], positive as every T is; so the sum is, too.
    """
    joint = prior * likelihood
    total = jnp.sum(joint, axis=1, keepdims=True)
    return joint * (1.0 / total), total


def likelihood_of_given(transition: jax.Array, chunk: Chunk) -> jax.Array:
    """p(given | y) of every row, [k, c, b], by transition matrices [k, c, c]."""
    return jnp.einsum("kyg,gb->kyb", transition, chunk.given.T, precision=HIGHEST)


def leave_one_out_probs(model: LabelModel, chunk: Chunk) -> Prediction:
    """Predictions of classifiers for rows [b, ...], with and without the effect of each row's own labels.

    Args:
        model: leaves [k, ...]; its T is the one that wrote the labels for the classifiers' training.
        chunk: the rows.
    """
    logits = jnp.einsum("kdc,bd->kcb", model.weights, chunk.features, precision=HIGHEST)
    scores, total = _exponents(logits)
    probs = scores * (1.0 / total)
    likelihood = likelihood_of_given(model.transition, chunk)
    residual = probs - bayes(scores, likelihood)[0]
    # A row of weight two has moved its own logits twice as far.
    moved = _wide(model.leverage) * residual - _wide(model.given_label_leverage) * chunk.given.T
    alone = (logits + chunk.weight * moved) * _wide(1.0 / model.temperature)
    scores, total = _exponents(alone)
    return Prediction(probs, residual, alone, scores * (1.0 / total), likelihood)


def expectation(model: LabelModel, chunk: Chunk) -> Expectation:
    """The posterior of the true class of rows [b, ...] by models with leaves [k, ...], and its slopes."""
    predicted = leave_one_out_probs(model, chunk)
    prior = predicted.leave_one_out
    labels, evidence = bayes(prior, predicted.likelihood)
    in_temperature = jnp.sum(predicted.logits * (prior - labels), axis=1)
    in_noise_rate = 1.0 - jnp.sum(prior * chunk.given.T, axis=1) * (1.0 / evidence[:, 0])
    slopes = jnp.stack([in_temperature, in_noise_rate], axis=1)
    return Expectation(labels, predicted.probs, predicted.residual, slopes)


def posterior_labels(model: LabelModel, chunk: Chunk) -> jax.Array:
    """Labels [k, c, b] that models with leaves [k, ...] write on rows [b, ...]: the posterior."""
    predicted = leave_one_out_probs(model, chunk)
    return bayes(predicted.leave_one_out, predicted.likelihood)[0]


def corrected_probs(model: LabelModel, chunk: Chunk, errors: jax.Array | None) -> jax.Array:
    """Leave-one-out predictions of rows [b, ...], corrected by the classifiers' errors, [k, c, b].

    Args:
        model: the classifiers, leaves [k, ...].
        chunk: the rows.
        errors: S, p(true class | predicted class), [k, c, c], see `classifier_errors.py`; None for none.
    """
    probs = leave_one_out_probs(model, chunk).leave_one_out
    return probs if errors is None else jnp.einsum("kpy,kpb->kyb", errors, probs, precision=HIGHEST)


def sums(model: LabelModel, chunk: Chunk) -> Sums:
    """The sums of a round over rows [b, ...], for models with leaves [k, ...]; to be added up over chunks."""
    found = expectation(model, chunk)
    return sums_towards(found.labels, found, chunk)


def sums_towards(targets: jax.Array, found: Expectation, chunk: Chunk) -> Sums:
    """The sums of a round where classifiers learn from `targets` [k, c, b].

    Args:
        targets: distributions; the posterior, or the posterior after IPC's step.
        found: the posterior and its slopes.
        chunk: the rows.
    """
    weight, slopes = chunk.weight, chunk.weight * found.slopes
    return Sums(
        jnp.einsum("kcb,bd->kdc", weight * (found.probs - targets), chunk.features, precision=HIGHEST),
        jnp.einsum("kyb,bg->kyg", weight * found.labels, chunk.given, precision=HIGHEST),
        jnp.sum(weight * jnp.sum(found.residual**2, axis=1), axis=1),
        jnp.sum(slopes, axis=2),
        jnp.einsum("krb,ksb->krs", slopes, found.slopes, precision=HIGHEST),
    )


def _exponents(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(logits) [k, c, b] up to a factor for each row, at most 1, and the sum over classes [k, 1, b]."""
    scores = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    return scores, jnp.sum(scores, axis=1, keepdims=True)


def _wide(values: jax.Array) -> jax.Array:
    """Scalars [k] to broadcast against [k, c, b]."""
    return values[:, None, None]
