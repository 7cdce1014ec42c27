"""One round over the training rows: posterior of every row, and the sums that move the classifiers.

For k classifiers at once, labels soft, every row in every round:

    P_i = softmax of F_i W, as if row i had not been trained on        the classifier's prediction
    Q_i ~ P_i * T[:, given_i]                                          what EAC writes, Eq. 9
    Y_i = Q_i moved down dL_val / dQ_i, back onto the simplex          IPC, Eq. 6-7, where it is on
    pull = sum_i F_i (softmax(F_i W) - Y_i)                            gradient of EAC's loss, Eq. 8
    counts = sum_i Q_i given_i                                         the next T

After the rounds P_i passes through S, how the classifier is mistaken, see `misfit.py`.

Arrays over rows are class-major, [k, c, b]: vector units then run along the rows, and the products with
the features are plain matrix products [k c, d] x [d, b].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.paper import ipc
from dmlp_jax.purifier.rows.chunks import Chunk


class Head(NamedTuple):
    """What decides the labels that a classifier writes; leaves [k, ...].

    Attributes:
        weights: [d, c].
        transition: estimate of p(given | true), [c, c].
        leverage: how far a row's own written label has moved its logits, see `leverage.py`; scalar.
        memory: how far its given label has, through the probe that the classifier started from; scalar.
        temperature: divides the logits, so that the prediction is calibrated when it meets the noise.
        direction: dL_val / d(F^T Y) [d, c] times the step, None without IPC; F @ direction is what IPC
            subtracts from the labels.
        confusion: p(true class | predicted class) [c, c], see `misfit.py`; None during the rounds, whose T
            still holds it.
        learned_transition: the T of the labels that the classifier has learned, [c, c], where it is another;
            None during the rounds.
    """

    weights: jax.Array
    transition: jax.Array
    leverage: jax.Array
    memory: jax.Array
    temperature: jax.Array
    direction: jax.Array | None
    confusion: jax.Array | None = None
    learned_transition: jax.Array | None = None


class Written(NamedTuple):
    """Labels written on rows.

    Attributes:
        labels: Q, [k, c, b].
        probs: predictions of the classifiers as they are [k, c, b].
        residual: `probs` minus the posterior that they would give, [k, c, b].
        slopes: of the given label's log-likelihood in the log of the temperature and in that of T's noise
            rate, [k, 2, b]; see `calibration.py`. Of heads without `confusion` only.
    """

    labels: jax.Array
    probs: jax.Array
    residual: jax.Array
    slopes: jax.Array


class Sums(NamedTuple):
    """Sums over rows for k classifiers.

    Attributes:
        pull: gradient of the rows' cross-entropy in the weights, [k, d, c].
        counts: soft counts of true against given labels [k, c, c].
        squares: sum of the squared residuals, see `Written`, [k].
        slopes: sums of the slopes in `Written`, [k, 2].
        curvature: sums of their products with each other, [k, 2, 2].
        moment: F^T Y of the written labels [k, d, c], None without IPC.
    """

    pull: jax.Array
    counts: jax.Array
    squares: jax.Array
    slopes: jax.Array
    curvature: jax.Array
    moment: jax.Array | None


def write(head: Head, chunk: Chunk) -> Written:
    """The labels that EAC writes, for heads with leaves [k, ...] on rows [b, ...]."""
    given = chunk.given.T
    logits = jnp.einsum("kdc,bd->kcb", head.weights, chunk.features, precision=HIGHEST)
    likelihood = jnp.einsum("kyg,gb->kyb", head.transition, given, precision=HIGHEST)
    scores, total = _exponents(logits)
    probs = scores * (1.0 / total)
    learned = likelihood
    if head.learned_transition is not None:
        learned = jnp.einsum("kyg,gb->kyb", head.learned_transition, given, precision=HIGHEST)
    residual = probs - bayes(scores, learned)[0]
    # A row that counts twice has moved its own logits twice as far.
    alone = logits + chunk.weight * (_wide(head.leverage) * residual - _wide(head.memory) * given)
    alone *= _wide(1.0 / head.temperature)
    prior, mass = _exponents(alone)
    if head.confusion is not None:
        prior = jnp.einsum("kpy,kpb->kyb", head.confusion, prior, precision=HIGHEST)
    labels, seen = bayes(prior, likelihood)
    hotter = jnp.sum(alone * (prior * (1.0 / mass) - labels), axis=1)
    noisier = 1.0 - jnp.sum(prior * given, axis=1) * (1.0 / seen[:, 0])
    return Written(labels, probs, residual, jnp.stack([hotter, noisier], axis=1))


def bayes(scores: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """p(y | x, given) [k, c, b] by Bayes' rule, and p(given | x) [k, 1, b] up to the same factor as `scores`.

    Args:
        scores: the prior p(y | x) up to a factor for each row, [k, c, b].
        likelihood: p(given | y), [k, c, b], positive, see `transition.transition_matrix`; so the sum is.
    """
    joint = scores * likelihood
    total = jnp.sum(joint, axis=1, keepdims=True)
    return joint * (1.0 / total), total


def _exponents(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(logits) [k, c, b] up to a factor for each row, at most 1, and the sum over classes [k, 1, b]."""
    scores = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    return scores, jnp.sum(scores, axis=1, keepdims=True)


def sums(head: Head, chunk: Chunk) -> Sums:
    """What a round needs of rows [b, ...]; add up over chunks."""
    written = write(head, chunk)
    labels, moment = written.labels, None
    weight = chunk.weight
    if head.direction is not None:
        step = jnp.einsum("kdc,bd->kcb", head.direction, chunk.features, precision=HIGHEST)
        labels = ipc.to_simplex(labels - step, axis=1)
        moment = jnp.einsum("kcb,bd->kdc", weight * written.labels, chunk.features, precision=HIGHEST)
    slopes = weight * written.slopes
    return Sums(
        jnp.einsum("kcb,bd->kdc", weight * (written.probs - labels), chunk.features, precision=HIGHEST),
        jnp.einsum("kyb,bg->kyg", weight * written.labels, chunk.given, precision=HIGHEST),
        jnp.sum(weight * jnp.sum(written.residual**2, axis=1), axis=1),
        jnp.sum(slopes, axis=2),
        jnp.einsum("krb,ksb->krs", slopes, written.slopes, precision=HIGHEST),
        moment,
    )


def _wide(values: jax.Array) -> jax.Array:
    return values[:, None, None]
