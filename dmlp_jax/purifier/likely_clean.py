"""Estimates which given labels are likely right, to draw a clean set where there is none.

Labels that were replaced at random cannot be predicted from the features: however typical a row is, its given
label has been replaced with the probability of the noise. So the given labels show how noisy they are. Model:

    p(g | x) = (1 - e) q(g | x) + e r_g,     q(g | x) ~ exp(z_g(x) / tau + b_g),

with q the probabilities of the classes, z the leave-one-out prediction of a ridge regression and r the
distribution of the replacing labels (uniform over the classes, or that of the given labels). The noise rate
e, tau, b and the choice of r are fitted by maximum likelihood. A label is then right with probability
(1 - e + e r_g) q / p, and rows that are kept with that probability are distributed like rows with right
labels: the importance weights of Liu and Tao (2016), by rejection. (The rows with the highest probabilities
would be the easy ones, and beside them every mistake of a classifier looks like noise.)

Noise that the features predict, such as cats that are called dogs, is found in part or not at all, and such
rows may be drawn. Copies of a row, with equal features, are left out with it: they would tell its label. No
noise is found where the features do not predict the labels. Two or three rows per class
are too few.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.optimize import minimize

from dmlp_jax.purifier import checks, label_checks
from dmlp_jax.purifier.base import errors, forked, ridge
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.rows import chunks, copies, disk, loading, span
from dmlp_jax.purifier.rows.chunks import Chunk
from dmlp_jax.purifier.rows.disk import Reader

# L2 strengths of the ridge regression, in mean eigenvalues of the Gram matrix.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Starting points and bounds of the search for (log tau, e), tau in standard deviations of the predictions.
STARTS = ((0.0, 0.02), (-1.5, 0.5))
BOUNDS = ((-7.0, 7.0), (0.0, 0.99))
# Largest distance of b from the log shares of the given labels, and the weight of its squared penalty.
MOST_OFFSET, OFFSET_PENALTY = 20.0, 1e-4
# Above this leverage a row determines its own prediction, and there is no leave-one-out prediction.
MOST_LEVERAGE = 0.999


class LikelyClean(NamedTuple):
    """The estimated noise of the given labels.

    Attributes:
        correct: probability that each given label is right, [n], in [0, 1].
        noise_rate: e, the share of labels that were replaced, in [0, 1); some of them are right by chance.
    """

    correct: np.ndarray
    noise_rate: float


def estimate(
    features: Any, labels: ArrayLike, num_classes: int, sample_weight: ArrayLike | None = None
) -> LikelyClean:
    """Estimates how likely each given label is right (the module's model), in O(n d (d + c)) operations.

    Args:
        features: [n, d]. A memory map is read chunk by chunk, five times; copies are not looked for in it.
        labels: given class indices [n].
        num_classes: c, at least 2.
        sample_weight: weight of each row [n], not negative; 1 by default.

    Raises:
        InputError: an argument is malformed.
    """
    forked.refuse()
    features = checks.check_features("features", features)
    given = label_checks.check_labels("labels", labels, features.shape[0], num_classes)
    if given.ndim != 1:
        raise errors.InputError("labels must be class indices [n]: distributions are not drawn from")
    given = jnp.asarray(given, jnp.int32)
    weight = jnp.ones(len(given))
    if sample_weight is not None:
        weight = jnp.asarray(checks.check_weight("sample_weight", sample_weight, len(given)), jnp.float32)
    scores, shares = _predictions(features, given, weight, num_classes)
    uniform = jnp.full(num_classes, 1.0 / num_classes)
    fits = [_fit(start, scores, given, weight, shares, law) for law in (uniform, shares) for start in STARTS]
    _, settings, law = min(fits, key=lambda fit: fit[0])
    rate = float(settings[1])
    kept, anew = _joint(settings, scores, given, shares, law)
    # A replaced label is right by chance with the probability of its class, q.
    correct = jnp.exp(kept - jnp.logaddexp(kept, anew)) * (1.0 + rate / (1.0 - rate) * law[given])
    return LikelyClean(np.minimum(correct, 1.0), rate)


def draw(correct: np.ndarray, labels: np.ndarray, share: float, key: jax.Array) -> np.ndarray:
    """Draws rows with the probability that their labels are right, a share of every class.

    Args:
        correct: see `LikelyClean`, [n].
        labels: given class indices [n].
        share: share of the rows of every class to draw, in (0, 1): at least one row and, where a class has
            two or more, not all. Where rejection keeps fewer, the rows closest to being kept fill the share.
        key: typed PRNG key.

    Returns:
        Sorted indices of the rows, [m].
    """
    reject_key, order_key = jax.random.split(key)
    chance = correct / np.asarray(jax.random.uniform(reject_key, correct.shape, minval=1e-6))
    order = np.asarray(jax.random.permutation(order_key, len(labels)))
    # By class, then by `chance`; rows that are kept tie at 1, so their order is random.
    order = order[np.lexsort((-np.minimum(chance, 1.0)[order], labels[order]))]
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    chosen = [
        members[: min(max(1, round(share * len(members))), max(1, len(members) - 1))]
        for members in np.split(order, starts[1:])
    ]
    return np.sort(np.concatenate(chosen))


def _predictions(
    features: Any, given: jax.Array, weight: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """`_left_out` for features [n, d] in memory or on disk."""
    if not disk.is_on_disk(features):
        return _without_copies(jnp.asarray(features, jnp.float32), given, weight, num_classes)
    shape = tuple(features.shape)
    source = Reader(
        shape, disk.limited_chunk_rows(shape, chunks.chunk_rows(shape[0], num_classes)), features.dtype
    )
    with source.reading(features):
        run = jax.jit(partial(_left_out, source, num_classes=num_classes))
        return jax.block_until_ready(run(given, weight))


def _without_copies(
    features: jax.Array, given: jax.Array, weight: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """`_left_out` for features in memory [n, d], where copies of a row are left out with it.

    To the regression, copies are one row of their weight in total and of the weighted mean of their labels.
    """
    high, low = (np.asarray(half, np.uint64) for half in _hashes(features))
    _, first, number = np.unique(high << np.uint64(32) | low, return_index=True, return_inverse=True)
    if len(first) == len(number):
        return _left_out_in_memory(features, given, weight, num_classes)
    totals = jnp.zeros((len(first), num_classes)).at[number, given].add(weight)
    total = jnp.sum(totals, axis=1)
    # Rows of weight 0 keep a valid label.
    labels = jnp.where(total[:, None] > 0, totals, 1.0)
    labels = labels / jnp.sum(labels, axis=1, keepdims=True)
    predicted, shares = _left_out_in_memory(features[first], labels, total, num_classes)
    return predicted[number], shares


def _fit(
    start: tuple[float, float],
    scores: jax.Array,
    given: jax.Array,
    weight: jax.Array,
    shares: jax.Array,
    law: jax.Array,
) -> tuple[float, jax.Array, jax.Array]:
    """Minimises the loss from one starting point.

    Args:
        start: (log tau, e).
        scores: see `_joint`.
        given: see `_joint`.
        weight: row weights [n].
        shares: see `_joint`.
        law: see `_joint`.

    Returns:
        The least loss, its settings as in `_joint`, and `law`.
    """

    def function(settings):
        arguments = jnp.asarray(settings, jnp.float32), scores, given, weight, shares, law
        value, slope = _loss_and_slope(*arguments)
        return float(value), np.asarray(slope, np.float64)

    bounds = [*BOUNDS, *[(-MOST_OFFSET, MOST_OFFSET)] * len(shares)]
    begin = np.concatenate([start, np.zeros(len(shares))])
    found = minimize(function, begin, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.fun), jnp.asarray(found.x, jnp.float32), law


def _left_out(
    features: jax.Array | Reader, given: jax.Array, weight: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """Leave-one-out predictions [n, c] of the ridge regression, and the labels' shares [c].

    They are those of the penalty with the least squared leave-one-out error, divided by their standard
    deviation. A row's leave-one-out residual is 1 / (1 - h) times its residual, with the leverage
    h = weight x^T (F^T F + penalty I)^-1 x. `given` are class indices [n] or distributions [n, c].
    """
    width = features.shape[1] + 1
    train = loading.load(features, given, weight, num_classes, num_classes)
    train = span.narrow(train, jnp.zeros((0, width)))[0]
    counts = matmul(weight, given) if given.ndim == 2 else jnp.zeros(num_classes).at[given].add(weight)
    shares = jnp.maximum(counts / jnp.sum(weight), jnp.finfo(jnp.float32).tiny)
    (gram, moment, total), centre = chunks.sum_over(
        lambda chunk: (chunks.moments(chunk), matmul(chunk.weight, chunk.features)), train
    )
    values, vectors = jnp.linalg.eigh(gram)
    values, unit = jnp.maximum(values, 0.0), ridge.mean_eigenvalue(gram, width)
    rotated = matmul(vectors.T, moment - centre[:, None] * shares)

    def predict(chunk: Chunk, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Leave-one-out predictions and targets of a chunk, [b, c]."""
        inner = matmul(chunk.features, vectors)
        kept = 1.0 / (values + penalty * unit)
        leverage = (chunk.weight * matmul(inner**2, kept))[:, None]
        alone = leverage > MOST_LEVERAGE
        target = chunk.given - shares
        left = matmul(inner, kept[:, None] * rotated) - leverage * target
        return jnp.where(alone, 0.0, left / jnp.where(alone, 1.0, 1.0 - leverage)), target

    def errors(chunk: Chunk) -> jax.Array:
        def error(penalty):
            predicted, target = predict(chunk, penalty)
            return jnp.sum(chunk.weight[:, None] * (predicted - target) ** 2) / total

        return jax.lax.map(error, penalties)

    penalties = jnp.asarray(PENALTIES, jnp.float32)
    best = penalties[jnp.argmin(chunks.sum_over(errors, train))]
    predicted = chunks.map_over(lambda chunk: predict(chunk, best)[0], train)[: given.shape[0]]
    return predicted / jnp.maximum(jnp.std(predicted), jnp.finfo(jnp.float32).tiny), shares


_hashes = jax.jit(copies.hashes)
_left_out_in_memory = jax.jit(_left_out, static_argnames="num_classes")


def _joint(
    settings: jax.Array, scores: jax.Array, given: jax.Array, shares: jax.Array, law: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logarithms of (1 - e) q(g | x) and e r_g of every row, [n].

    Args:
        settings: log tau, e and b - log shares, [2 + c].
        scores: leave-one-out predictions z, [n, c].
        given: class indices [n].
        shares: of the given labels, [c].
        law: r, [c].
    """
    log_tau, rate, offsets = settings[0], settings[1], settings[2:]
    log_q = jax.nn.log_softmax(scores * jnp.exp(-log_tau) + jnp.log(shares) + offsets)
    kept = jnp.log1p(-rate) + jnp.take_along_axis(log_q, given[:, None], axis=1)[:, 0]
    anew = jnp.log(jnp.maximum(rate, jnp.finfo(jnp.float32).tiny)) + jnp.log(law[given])
    return kept, anew


@jax.jit
@jax.value_and_grad
def _loss_and_slope(
    settings: jax.Array,
    scores: jax.Array,
    given: jax.Array,
    weight: jax.Array,
    shares: jax.Array,
    law: jax.Array,
) -> jax.Array:
    """Mean negative log-likelihood in nats plus the penalty on b, and the derivative; arguments: `_fit`."""
    kept, anew = _joint(settings, scores, given, shares, law)
    loss = -jnp.sum(weight * jnp.logaddexp(kept, anew)) / jnp.sum(weight)
    return loss + OFFSET_PENALTY * jnp.sum(settings[2:] ** 2)
