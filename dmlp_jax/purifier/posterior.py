"""One round over the training rows: posterior of every row, and the sums that move the classifiers.

For k classifiers at once, labels soft, every row in every round:

    P_i = softmax of F_i W, as if row i had not been trained on        the classifier's prediction
    Q_i ~ P_i * T[:, given_i]                                          what EAC writes, Eq. 9
    Y_i = Q_i moved down dL_val / dQ_i, back onto the simplex          IPC, Eq. 6-7, where it is on
    pull = sum_i F_i (softmax(F_i W) - Y_i)                            gradient of EAC's loss, Eq. 8
    counts = sum_i Q_i given_i                                         the next T

Arrays over rows are class-major, [k, c, b]: vector units then run along the rows, and the products with
the features are plain matrix products [k c, d] x [d, b].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.ridge import HIGHEST
from dmlp_jax.purifier.rows import Training


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
    """

    weights: jax.Array
    transition: jax.Array
    leverage: jax.Array
    memory: jax.Array
    temperature: jax.Array
    direction: jax.Array | None


class Written(NamedTuple):
    """Labels written on rows.

    Attributes:
        labels: Q, [k, c, b].
        log_likelihood: of the given labels, each predicted without itself, [k, b], in nats.
        probs: predictions of the classifiers as they are [k, c, b].
        residual: `probs` minus the posterior that they would give, [k, c, b].
    """

    labels: jax.Array
    log_likelihood: jax.Array
    probs: jax.Array
    residual: jax.Array


class Sums(NamedTuple):
    """Sums over rows for k classifiers.

    Attributes:
        pull: gradient of the rows' cross-entropy in the weights, [k, d, c].
        counts: soft counts of true against given labels [k, c, c].
        squares: sum of the squared residuals, see `Written`, [k].
        log_likelihood: of the given labels, each predicted without itself, [k], in nats.
        changed: total weight of the rows whose written label differs from the given one, [k].
        moment: F^T Y of the written labels [k, d, c], None without IPC.
    """

    pull: jax.Array
    counts: jax.Array
    squares: jax.Array
    log_likelihood: jax.Array
    changed: jax.Array
    moment: jax.Array | None


def write(head: Head, chunk: Training) -> Written:
    """The labels that EAC writes, for heads with leaves [k, ...] on rows [b, ...]."""
    given = chunk.given.T
    logits = jnp.einsum("kdc,bd->kcb", head.weights, chunk.features, precision=HIGHEST)
    likelihood = jnp.einsum("kyg,gb->kyb", head.transition, given, precision=HIGHEST)
    probs = jax.nn.softmax(logits, axis=1)
    residual = probs - bayes(probs, likelihood)[0]
    # A row that counts twice has moved its own logits twice as far.
    alone = logits + chunk.weight * (_wide(head.leverage) * residual - _wide(head.memory) * given)
    prior = jax.nn.softmax(alone / _wide(head.temperature), axis=1)
    return Written(*bayes(prior, likelihood), probs, residual)


def bayes(prior: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """p(y | x, given) and log p(given | x), of p(y | x) [k, c, b] and p(given | y) [k, c, b]."""
    joint = prior * likelihood
    total = jnp.sum(joint, axis=1, keepdims=True)
    # Where a prediction underflows to 0 for all classes that could have given g, p(y | x) decides.
    posterior = jnp.where(total > 0, joint / jnp.where(total > 0, total, 1.0), prior)
    return posterior, jnp.log(jnp.maximum(total[:, 0], jnp.finfo(total.dtype).tiny))


def sums(head: Head, chunk: Training) -> Sums:
    """What a round needs of rows [b, ...]; add up over chunks."""
    written = write(head, chunk)
    labels, moment = written.labels, None
    weight = chunk.weight
    if head.direction is not None:
        step = jnp.einsum("kdc,bd->kcb", head.direction, chunk.features, precision=HIGHEST)
        labels = _to_simplex(labels - step)
        moment = jnp.einsum("kcb,bd->kdc", weight * written.labels, chunk.features, precision=HIGHEST)
    return Sums(
        jnp.einsum("kcb,bd->kdc", weight * (written.probs - labels), chunk.features, precision=HIGHEST),
        jnp.einsum("kyb,bg->kyg", weight * written.labels, chunk.given, precision=HIGHEST),
        jnp.sum(weight * jnp.sum(written.residual**2, axis=1), axis=1),
        jnp.sum(weight * written.log_likelihood, axis=1),
        jnp.sum(weight * _differs(written.labels, chunk.given.T), axis=1),
        moment,
    )


def _differs(labels: jax.Array, given: jax.Array) -> jax.Array:
    """Whether the most probable classes of labels [k, c, b] and given labels [c, b] differ, [k, b] bool."""
    agreed = jnp.where(given == jnp.max(given, axis=0), labels, 0.0)
    return jnp.max(labels, axis=1) > jnp.max(agreed, axis=1)


def _to_simplex(labels: jax.Array) -> jax.Array:
    """`ipc.to_simplex` for class-major labels [k, c, b]."""
    clipped = jnp.maximum(labels, 0.0)
    total = jnp.sum(clipped, axis=1, keepdims=True)
    return jnp.where(total > 0, clipped / jnp.where(total > 0, total, 1.0), 1.0 / labels.shape[1])


def _wide(values: jax.Array) -> jax.Array:
    return values[:, None, None]
