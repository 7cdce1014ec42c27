"""After the rounds: the classifier is averaged with the closed form of its own labels, where that is better.

Linear discriminant analysis (Fisher 1936, Rao 1948) of the written labels Q takes every class for a Gaussian
of one covariance. With the sums N = sum_i Q_i and F^T Q that gives logits

    x^T W + log N - 1/2 diag(M^T W),    W = n S^-1 M,    M = F^T Q / N,
    S = F^T F + lambda I - M diag(N) M^T,

S the scatter within classes. F^T F + lambda I is that of the ridge regression of Eq. 4, factored once; what
the labels change has rank c. So a step costs what a round does, and has no step size.

A gradient step moves the classifier by what its labels say beyond its own prediction: next to nothing where
the given labels say little, for Q is then the prediction. The closed form also learns from where the rows
lie, whatever their labels. But it takes classes for Gaussian, and believes its own labels more at every step:
so the two are averaged, calibrated logits each, and only while the held-out clean rows gain by it, by more
than a standard error.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge, scores
from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.base.ridge import HIGHEST, RidgeFactor, matmul
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.posterior import e_step, label_shift, m_step
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.state import Precomputed, Snapshot
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows import clean_set as clean_lib
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanSet

# lambda in units of trace(F^T F) / d.
PENALTY = 0.1
# Weight of the closed form in the average.
SHARE = 0.5
# Standard errors that the held-out clean rows must gain by a step, as when a round is picked (`rounds.py`).
STANDARD_ERRORS = 1.0


class Scatter(NamedTuple):
    """What all classes share.

    Attributes:
        factor: of F^T F + lambda I over training and clean rows, without the constant column.
        total: number of rows by weight, n.
        freedom: effective degrees of freedom of the ridge regression, trace F (F^T F + lambda I)^-1 F^T.
    """

    factor: RidgeFactor
    total: jax.Array
    freedom: jax.Array


def scatter(shared: Precomputed, clean: CleanSet, val_weight: jax.Array | float) -> Scatter:
    """`Scatter` of the training rows and the clean ones, of which each counts `val_weight` times.

    Args:
        shared: holds their Gram matrices [d + 1, d + 1], the constant column last, and n without clean rows.
        clean: the clean rows.
        val_weight: see `PurifyConfig`.
    """
    gram = (shared.gram + val_weight * shared.gram_val)[:-1, :-1]
    factor = ridge.factor(gram, PENALTY * ridge.mean_eigenvalue(gram))
    total = shared.total + val_weight * clean.labels.shape[0]
    return Scatter(factor, total, jnp.sum(factor.inverse * gram))


def fit(moment: jax.Array, total: jax.Array, factor: RidgeFactor) -> jax.Array:
    """Weights [d + 1, c] of linear discriminant analysis, the constant column last.

    Every class has one row more at the centre, so that the mean of a class without rows is defined. Takes
    O(d^2 c + d c^2 + c^3).

    Args:
        moment: F^T Q [d + 1, c] of all rows; its last row is N.
        total: n.
        factor: of F^T F + lambda I, [d, d].
    """
    counts = moment[-1] + 1.0
    means = moment[:-1] / counts
    pulled = ridge.apply_inverse(factor, means)
    root = jnp.sqrt(counts)
    # Woodbury: S^-1 M = A^-1 M (I - N M^T A^-1 M)^-1, symmetric between square roots of N.
    overlap = root[:, None] * matmul(means.T, pulled) * root
    inverse = ridge.fit(-overlap, jnp.ones((), overlap.dtype), jnp.diag(1.0 / root))
    weights = total * matmul(pulled * root, inverse)
    bias = jnp.log(counts) - 0.5 * jnp.sum(means * weights, axis=0)
    return jnp.concatenate([weights, (bias - jnp.max(bias))[None]])


def refine(
    best: Snapshot, train: Training, clean: CleanSet, shared: Precomputed, config: PurifyConfig
) -> tuple[Snapshot, jax.Array]:
    """Averages with the closed form, up to `config.refits` times, while held-out clean rows gain by it.

    A step is taken where the mean gain is above `STANDARD_ERRORS` of its standard error.

    Args:
        best: the winner of the rounds, see `schedule.run`.
        train: the training rows.
        clean: the clean rows.
        shared: see `schedule.share`.
        config: the settings.

    Returns:
        The winner with the head and the held-out logits that it has now (score and loss stay those of its
        round), and how many steps were taken, scalar int32. A step costs what a round of one candidate does.
    """
    if config.refits == 0 or not config.selection:
        return best, jnp.int32(0)
    common = scatter(shared, clean, config.val_weight)

    def body(state):
        current, taken, _ = state
        step = _averaged(current, common, train, clean, config)
        gains = _scores(step, clean) - _scores(current, clean)
        margin = STANDARD_ERRORS * jnp.std(gains) / gains.shape[0] ** 0.5
        better = jnp.mean(gains) > margin
        current = jax.tree.map(lambda a, b: jnp.where(better, a, b), step, current)
        return current, taken + better, better

    def unfinished(state):
        return state[2] & (state[1] < config.refits)

    start = (best, jnp.int32(0), jnp.bool_(True))
    return jax.lax.while_loop(unfinished, body, start)[:2]


def _averaged(
    current: Snapshot, common: Scatter, train: Training, clean: CleanSet, config: PurifyConfig
) -> Snapshot:
    """`current` averaged with the closed form of the labels that it writes."""
    head = current.head

    def sums(chunk):
        labels = chunk.weight * e_step.write(head, chunk).labels
        moment = jnp.einsum("kcb,bd->kdc", labels, chunk.features, precision=HIGHEST)
        return moment, jnp.einsum("kyb,bg->kyg", labels, chunk.given, precision=HIGHEST)

    moment, counts = chunks.sum_over(sums, train)
    moment += config.val_weight * clean_lib.moment(clean)
    closed = jax.lax.map(lambda member: fit(member, common.total, common.factor), moment)
    held_out = clean_lib.held_out(closed[:-1], clean)
    shift = label_shift.log_ratio(clean.targets, current.evidence.shares)
    # Nothing is known of it but its held-out rows.
    temperature = calibration.fit_temperature(held_out, clean.targets, shift=shift)

    own = jax.vmap(lambda weights, t: weights / t)(head.weights, head.temperature)
    weights = (1.0 - SHARE) * own + SHARE * closed / temperature
    # A row's label moves the mean of its class, one of N rows. What it has done to the labels of others,
    # through the classifier that wrote them, comes back with these: its own leverage stays whole.
    moved = closed.shape[-1] * common.freedom / common.total
    leverage = head.leverage / head.temperature + SHARE * moved / temperature
    held_out = clean_lib.held_out(weights[:-1], clean)
    # The mean of two that are calibrated is nearly so, and as near as they are.
    near = current.evidence._replace(log_temperature=jnp.float32(0))
    temperature = calibration.fit_temperature(held_out, clean.targets, near, jnp.float32(1), shift)
    transition = jax.vmap(lambda member: m_step.transitions(member, config))(counts)
    head = Head(
        weights,
        transition,
        leverage,
        head.memory / head.temperature,
        jnp.broadcast_to(temperature, leverage.shape),
        None,
    )
    return current._replace(head=head, held_out=held_out / temperature + shift, evidence=near)


def _scores(snapshot: Snapshot, clean: CleanSet) -> jax.Array:
    """What the race is decided by, for every clean row [m]: with a given label drawn from T, and without."""
    with_label = scores.expected_scores(snapshot.held_out, snapshot.head.transition[-1], clean.labels)
    return with_label - scores.cross_entropies(snapshot.held_out, calibration.smoothed(clean.targets))
