"""Averages the final classifier with linear discriminant analysis of its own labels, where that helps.

Linear discriminant analysis (Fisher 1936, Rao 1948) of the written labels Q models every class as a Gaussian,
all with one covariance. With the sums N = sum_i Q_i and F^T Q that gives the logits

    x^T W + log N - 1/2 diag(M^T W),    W = n S^-1 M,    M = F^T Q / N,
    S = F^T F + lambda I - M diag(N) M^T,

S the scatter within classes. F^T F + lambda I is that of the ridge regression of Eq. 4, inverted once; what
depends on the labels has rank c. So a step costs what a round does, and needs no step size.

A gradient step moves the classifier by what its labels say beyond its own prediction, which is next to
nothing where the given labels carry little information: Q is then the prediction itself. The closed form also
learns from where the rows lie, whatever their labels are. But it assumes Gaussian classes, and grows
overconfident in its own labels from step to step. So the two are averaged, calibrated logits each, and only
while the held-out clean rows gain more than a standard error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import masked, pytrees, ridge, scores, temperature
from dmlp_jax.purifier.base.ridge import HIGHEST, matmul
from dmlp_jax.purifier.posterior import e_step, label_shift, m_step
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.state import FittedModel, Precomputed
from dmlp_jax.purifier.rows import chunks, clean_set
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanSet

# lambda in units of trace(F^T F) / d.
PENALTY = 0.1
# Weight of the closed form in the average.
SHARE = 0.5
# Standard errors that the held-out clean rows must gain by a step, as when a round is picked (`race.py`).
STANDARD_ERRORS = 1.0


class Scatter(NamedTuple):
    """The part of the scatter that does not depend on labels.

    Attributes:
        inverse: (F^T F + lambda I)^-1 over training and clean rows, without the constant column, [d, d].
        total: number of rows by weight, n.
        freedom: effective degrees of freedom of the ridge regression, trace F (F^T F + lambda I)^-1 F^T.
    """

    inverse: jax.Array
    total: jax.Array
    freedom: jax.Array


def scatter(precomputed: Precomputed, clean: CleanSet, val_weight: jax.Array | float) -> Scatter:
    """`Scatter` of the training rows and the clean ones, of which each counts `val_weight` times.

    Args:
        precomputed: holds their Gram matrices [d + 1, d + 1], the constant column last, and the number of
            training rows.
        clean: the clean rows.
        val_weight: see `PurifyConfig`.
    """
    gram = (precomputed.gram + val_weight * precomputed.gram_val)[:-1, :-1]
    inverse = ridge.inverse(gram, PENALTY * ridge.mean_eigenvalue(gram, clean.width - 1))
    total = precomputed.total + val_weight * clean.number
    return Scatter(inverse, total, jnp.sum(inverse * gram))


def fit(moment: jax.Array, total: jax.Array, inverse: jax.Array) -> jax.Array:
    """Weights [d + 1, c] of linear discriminant analysis, the constant column last.

    Every class gets one extra row at the centre, so that the mean of a class without rows is defined. Takes
    O(d^2 c + d c^2 + c^3).

    Args:
        moment: F^T Q [d + 1, c] of all rows; its last row is N.
        total: n.
        inverse: inverse of F^T F + lambda I, [d, d].
    """
    counts = moment[-1] + 1.0
    means = moment[:-1] / counts
    pulled = matmul(inverse, means)
    root = jnp.sqrt(counts)
    # Woodbury: S^-1 M = A^-1 M (I - N M^T A^-1 M)^-1, symmetric between square roots of N.
    overlap = root[:, None] * matmul(means.T, pulled) * root
    small = ridge.solve(-overlap, jnp.ones((), overlap.dtype), jnp.diag(1.0 / root))
    weights = total * matmul(pulled * root, small)
    bias = jnp.log(counts) - 0.5 * jnp.sum(means * weights, axis=0)
    return jnp.concatenate([weights, (bias - jnp.max(bias))[None]])


def refine(
    fitted: FittedModel, train: Training, clean: CleanSet, precomputed: Precomputed, config: PurifyConfig
) -> tuple[FittedModel, jax.Array]:
    """Averages with the closed form, up to `config.refits` times, while held-out clean rows gain by it.

    A step is taken where the mean gain is above `STANDARD_ERRORS` of its standard error. It costs what a
    round of one candidate does.

    Args:
        fitted: the winner of the rounds, see `race.run`.
        train: the training rows.
        clean: the clean rows.
        precomputed: what depends on no label.
        config: the settings.

    Returns:
        The model after the steps, and how many were taken, scalar int32.
    """
    if config.refits == 0 or not config.selection:
        return fitted, jnp.int32(0)
    shared = scatter(precomputed, clean, config.val_weight)

    def body(state):
        current, taken, _ = state
        averaged = _averaged(current, shared, train, clean, config)
        gains = _race_scores(averaged, clean) - _race_scores(current, clean)
        margin = STANDARD_ERRORS * masked.deviation(gains, clean.real) / jnp.sqrt(clean.number)
        better = masked.mean(gains, clean.real) > margin
        return pytrees.where(better, averaged, current), taken + better, better

    def unfinished(state):
        return state[2] & (state[1] < config.refits)

    return jax.lax.while_loop(unfinished, body, (fitted, jnp.int32(0), jnp.bool_(True)))[:2]


def _averaged(
    current: FittedModel, shared: Scatter, train: Training, clean: CleanSet, config: PurifyConfig
) -> FittedModel:
    """`current` averaged with the closed form of the labels that it writes."""
    model = current.model

    def sums(chunk):
        labels = chunk.weight * e_step.posterior_labels(model, chunk)
        moment = jnp.einsum("kcb,bd->kdc", labels, chunk.features, precision=HIGHEST)
        return moment, jnp.einsum("kyb,bg->kyg", labels, chunk.given, precision=HIGHEST)

    moment, counts = chunks.sum_over(sums, train)
    moment += config.val_weight * clean_set.moment(clean)
    closed = jax.lax.map(lambda member: fit(member, shared.total, shared.inverse), moment)
    held_out = clean_set.held_out(closed[:-1], clean)
    shift = label_shift.log_ratio(clean.targets, current.class_shares)
    # The training rows have no evidence on the closed form's temperature: only its held-out rows do.
    of_closed = temperature.fit_temperature(held_out, clean.targets, shift=shift)

    own = jax.vmap(lambda weights, t: weights / t)(model.weights, model.temperature)
    weights = (1.0 - SHARE) * own + SHARE * closed / of_closed
    # LDA depends on a row's label through its class mean only, one of N rows. So the leverage that the label
    # had in the rounds, by way of the labels of other rows, carries over undiminished.
    moved = closed.shape[-1] * shared.freedom / shared.total
    leverage = model.leverage / model.temperature + SHARE * moved / of_closed
    held_out = clean_set.held_out(weights[:-1], clean)
    # The mean of two calibrated predictions is nearly calibrated, as precisely as the first was.
    evidence = current.evidence._replace(log_temperature=jnp.float32(0))
    fitted = temperature.fit_temperature(held_out, clean.targets, evidence, jnp.float32(1), shift)
    averaged = LabelModel(
        weights,
        jax.vmap(lambda member: m_step.estimate_transition(member, config))(counts),
        leverage,
        model.given_label_leverage / model.temperature,
        jnp.broadcast_to(fitted, leverage.shape),
    )
    return FittedModel(averaged, held_out / fitted + shift, evidence, current.class_shares)


def _race_scores(fitted: FittedModel, clean: CleanSet) -> jax.Array:
    """The race score of every clean row [m]: with a given label drawn from T, and without; see `race.py`."""
    with_label = scores.expected_scores(fitted.held_out, fitted.model.transition[-1], clean.labels)
    return with_label - scores.cross_entropies(fitted.held_out, temperature.smoothed(clean.targets))
