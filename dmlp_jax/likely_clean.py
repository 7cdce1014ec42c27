"""Rows whose labels are likely right, to stand in for a clean set where there is none.

Noise that does not depend on the features is what no classifier can predict: however typical a row is, its
given label is another with the probability of the noise. So the given labels tell how noisy they are,

    p(g | x) = (1 - e) q(g | x) + e pi_g,     q(g | x) ~ pi_g exp(z_g(x) / tau),

with q the classes' probabilities, z the ridge regression's prediction for a row that it did not see, pi the
shares of the given labels, and e and tau of maximum likelihood. A label is then right with probability
(1 - e + e pi_g) q / p, and rows that are kept with that probability are distributed like rows with right
labels: the importance weights of Liu and Tao (2016), by rejection. (The rows with the highest probabilities
would be the easy ones, and beside them every mistake of a classifier looks like noise.)

Noise that depends on the true class, cats called dogs, is found in part or not at all, and is then among the
rows that are drawn too.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from dmlp_jax.purifier import reader, ridge, rows
from dmlp_jax.purifier.reader import Reader
from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.rows import Chunk

# L2 strengths of the ridge regression, in mean eigenvalues of the Gram matrix.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Where the search for (log tau, e) starts and ends, tau in standard deviations of the predictions.
STARTS = ((0.0, 0.02), (-1.5, 0.5))
BOUNDS = ((-7.0, 7.0), (0.0, 0.99))
# A row that decides its own prediction all alone has none without itself.
MOST_LEVERAGE = 0.999


class LikelyClean(NamedTuple):
    """What the given labels tell of their own noise.

    Attributes:
        correct: probability that each given label is right, [n], in [0, 1].
        noise_rate: e, the share of labels that were drawn anew, in [0, 1); some of them are right by chance.
    """

    correct: np.ndarray
    noise_rate: float


def estimate(
    features: Any, labels: np.ndarray, num_classes: int, sample_weight: np.ndarray | None = None
) -> LikelyClean:
    """How likely each given label is right, as in the module's equation, in O(n d (d + c)) operations.

    Args:
        features: finite, [n, d]. A memory map is read chunk by chunk, three times.
        labels: given class indices [n].
        num_classes: c, at least 2.
        sample_weight: of each row [n], not negative; 1 by default.
    """
    given = jnp.asarray(labels, jnp.int32)
    weight = jnp.ones(len(labels)) if sample_weight is None else jnp.asarray(sample_weight, jnp.float32)
    run = partial(_left_out, num_classes=num_classes)
    if reader.is_on_disk(features):
        size = reader.chunk_rows(features.shape, rows.chunk_rows(len(labels), num_classes))
        scores = jax.jit(partial(run, Reader(features.shape, size, features.dtype, features)))(given, weight)
    else:
        scores = jax.jit(run)(jnp.asarray(features, jnp.float32), given, weight)
    shares = _shares(given, weight, num_classes)
    unit = jnp.maximum(jnp.std(scores), jnp.finfo(jnp.float32).tiny)
    loss = jax.jit(jax.value_and_grad(_loss))

    def function(settings):
        value, slope = loss(jnp.asarray(settings, jnp.float32), scores / unit, given, weight, shares)
        return float(value), np.asarray(slope, np.float64)

    found = [minimize(function, start, jac=True, method="L-BFGS-B", bounds=BOUNDS) for start in STARTS]
    best = min(found, key=lambda result: result.fun).x
    rate = float(best[1])
    kept, anew = _joint(jnp.asarray(best, jnp.float32), scores / unit, given, shares)
    # One drawn anew is right by chance as often as any class is.
    correct = jnp.exp(kept - jnp.logaddexp(kept, anew)) * (1.0 + rate / (1.0 - rate) * shares[given])
    return LikelyClean(np.minimum(correct, 1.0), rate)


def draw(correct: np.ndarray, labels: np.ndarray, share: float, key: jax.Array) -> np.ndarray:
    """Rows [m], sorted, drawn with the probability that their labels are right, a share of every class.

    Args:
        correct: see `LikelyClean`, [n].
        labels: given class indices [n].
        share: of the rows of every class, in (0, 1), but one row at least and, where a class has two or more,
            not all. Where fewer would be kept, those that come closest to being kept fill the share.
        key: typed PRNG key.
    """
    reject_key, order_key = jax.random.split(key)
    chance = correct / np.asarray(jax.random.uniform(reject_key, correct.shape, minval=1e-6))
    order = np.asarray(jax.random.permutation(order_key, len(labels)))
    # Kept rows tie, so they come in random order.
    order = order[np.argsort(-np.minimum(chance, 1.0)[order], kind="stable")]
    chosen = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen.append(members[: min(max(1, round(share * len(members))), max(1, len(members) - 1))])
    return np.sort(np.concatenate(chosen))


def _left_out(
    features: jax.Array | Reader, given: jax.Array, weight: jax.Array, num_classes: int
) -> jax.Array:
    """Predictions [n, c] for every row by ridge regressions without it, at the penalty that predicts best.

    A row's residual is 1 / (1 - h) of what it is with the row, h = weight x^T (F^T F + penalty I)^-1 x.
    """
    train = rows.load(features, given, weight, num_classes, num_classes)
    shares = _shares(given, weight, num_classes)
    gram, moment, total = rows.sum_over(rows.moments, train)
    centre = rows.sum_over(lambda chunk: chunk.weight @ chunk.features, train)
    values, vectors = jnp.linalg.eigh(gram)
    values, unit = jnp.maximum(values, 0.0), ridge.mean_eigenvalue(gram)
    rotated = matmul(vectors.T, moment - centre[:, None] * shares)

    def predict(chunk: Chunk, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the rows are predicted as without them, and what they are; [b, c]."""
        inner = matmul(chunk.features, vectors)
        kept = 1.0 / (values + penalty * unit)
        leverage = jnp.minimum(chunk.weight * matmul(inner**2, kept), MOST_LEVERAGE)[:, None]
        target = chunk.given - shares
        return (matmul(inner, kept[:, None] * rotated) - leverage * target) / (1.0 - leverage), target

    def errors(chunk: Chunk) -> jax.Array:
        def error(penalty):
            predicted, target = predict(chunk, penalty)
            return jnp.sum(chunk.weight[:, None] * (predicted - target) ** 2) / total

        return jax.lax.map(error, penalties)

    penalties = jnp.asarray(PENALTIES, jnp.float32)
    best = penalties[jnp.argmin(rows.sum_over(errors, train))]
    return rows.map_over(lambda chunk: predict(chunk, best)[0], train)[: len(given)]


def _shares(given: jax.Array, weight: jax.Array, num_classes: int) -> jax.Array:
    """pi, [c]: how large a part of the rows each given label has."""
    counts = jnp.zeros(num_classes).at[given].add(weight)
    return jnp.maximum(counts / jnp.sum(weight), jnp.finfo(jnp.float32).tiny)


def _joint(
    settings: jax.Array, scores: jax.Array, given: jax.Array, shares: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logarithms of (1 - e) q(g | x) and e pi_g of every row, [n], for settings (log tau, e)."""
    log_tau, rate = settings
    log_q = jax.nn.log_softmax(scores * jnp.exp(-log_tau) + jnp.log(shares))
    kept = jnp.log1p(-rate) + jnp.take_along_axis(log_q, given[:, None], axis=1)[:, 0]
    anew = jnp.log(jnp.maximum(rate, jnp.finfo(jnp.float32).tiny)) + jnp.log(shares[given])
    return kept, anew


def _loss(
    settings: jax.Array, scores: jax.Array, given: jax.Array, weight: jax.Array, shares: jax.Array
) -> jax.Array:
    """Mean negative log-likelihood of the given labels, in nats."""
    kept, anew = _joint(settings, scores, given, shares)
    return -jnp.sum(weight * jnp.logaddexp(kept, anew)) / jnp.sum(weight)
