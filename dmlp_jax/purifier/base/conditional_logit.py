"""Fits a conditional logit model (McFadden 1974) with a lapse rate.

    p(y | row) = (1 - e) softmax_y(features[row, y] . theta + offset[row, y]) + e / c

A few numbers theta weigh evidence for the classes; each piece of evidence is an array over rows and classes.
The lapse rate e is the share of rows about which the evidence says nothing. Without it a few such rows would
make theta small and every prediction unsure. Expectation maximisation tells lapses from other rows, and each
of its steps takes one Newton step on theta. With a Gaussian prior on theta and a beta prior on e the fit
exists whatever the rows are; where they say nothing it is the mean of the priors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import HIGHEST

# Lengths tried of a Newton step. The longest is taken of those whose losses are the least but for rounding:
# near the optimum losses are all rounding, while a whole step goes on to the root of the gradient.
LENGTHS = (1.0, 0.5, 0.25, 0.0625, 0.004)
ROUNDING = 1e-6


class ConditionalLogit(NamedTuple):
    """The fitted model.

    Attributes:
        theta: weights of the evidence, [p].
        lapse: the lapse rate e, scalar in [0, 1).
    """

    theta: jax.Array
    lapse: jax.Array


def fit(
    features: jax.Array,
    targets: jax.Array,
    weight: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
    lapse: float = 0.0,
    lapse_rows: float = 1.0,
    steps: int = 10,
    start: ConditionalLogit | None = None,
) -> ConditionalLogit:
    """The parameters of (locally) the greatest posterior density; without lapses the greatest of all.

    Args:
        features: evidence [m, c, p].
        targets: distributions [m, c].
        weight: of the rows, [m], not negative.
        offset: added to the logits, [m, c].
        mean: of the prior on theta, [p].
        deviation: its standard deviations, [p].
        lapse: mean of the prior on the lapse rate; 0 fixes it there.
        lapse_rows: number of rows that this prior is worth.
        steps: expectation steps, each with one Newton step.
        start: parameters to start from; the mean of the priors by default.
    """
    precision = 1.0 / deviation**2

    def log_probs(theta):
        return jax.nn.log_softmax(jnp.matmul(features, theta, precision=HIGHEST) + offset)

    def step(_, state):
        theta, rate = state
        probs = jnp.exp(log_probs(theta))
        told = _no_lapse(probs, targets, rate)
        lapses = jnp.dot(weight, 1.0 - told, precision=HIGHEST) + lapse * lapse_rows
        told_weight = weight * told

        def loss(theta):
            fit_to_rows = -jnp.sum(told_weight * jnp.sum(targets * log_probs(theta), axis=-1))
            return fit_to_rows + 0.5 * jnp.sum(precision * (theta - mean) ** 2)

        centre = jnp.einsum("mc,mcp->mp", probs, features, precision=HIGHEST)
        spread = features - centre[:, None]
        weighted = told_weight[:, None] * probs
        hessian = jnp.einsum("mc,mcp,mcq->pq", weighted, spread, spread, precision=HIGHEST)
        gradient = jax.grad(loss)(theta)
        move = ridge.solve(hessian + jnp.diag(precision), jnp.float32(0), gradient[:, None])[:, 0]
        tried = theta - jnp.asarray((*LENGTHS, 0.0), theta.dtype)[:, None] * move
        losses = jax.lax.map(loss, tried)
        losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
        least = jnp.min(losses)
        longest = jnp.argmax(losses <= least + ROUNDING * jnp.abs(least))
        return tried[longest], lapses / (jnp.sum(weight) + lapse_rows)

    first = (mean, jnp.float32(lapse)) if start is None else tuple(start)
    return ConditionalLogit(*jax.lax.fori_loop(0, steps, step, first))


def log_evidence(
    features: jax.Array,
    targets: jax.Array,
    weight: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
    fitted: ConditionalLogit,
) -> jax.Array:
    """Log of the marginal likelihood of the rows, theta integrated over its prior, in nats; scalar.

    Laplace's approximation (MacKay 1992): the likelihood at the fitted theta, times the share of the prior
    that fits the rows. The lapse rate stays as fitted.

    Args:
        features: evidence [m, c, p]; this and the next five as for `fit`.
        targets: [m, c]; zeros for padding.
        weight: [m].
        offset: [m, c].
        mean: [p].
        deviation: [p].
        fitted: the result of `fit` on these arguments.
    """
    theta, rate = fitted
    logits = jnp.matmul(features, theta, precision=HIGHEST) + offset
    probs = jax.nn.softmax(logits)
    likely = jnp.sum(targets * jnp.log(with_lapses(probs, rate)), axis=-1)
    told = _no_lapse(probs, targets, rate)
    spread = deviation * (features - jnp.einsum("mc,mcp->mp", probs, features, precision=HIGHEST)[:, None])
    # What the softmax curves, less what the doubt about lapses takes away.
    curved = (weight * told)[:, None] * (probs - (1.0 - told)[:, None] * targets)
    # In units of the prior's deviations: its own precision is the identity matrix.
    hessian = jnp.einsum("mc,mcp,mcq->pq", curved, spread, spread, precision=HIGHEST)
    eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(hessian), 0.0)
    from_prior = jnp.sum(((theta - mean) / deviation) ** 2)
    return jnp.dot(weight, likely) - 0.5 * (from_prior + jnp.sum(jnp.log1p(eigenvalues)))


def _no_lapse(probs: jax.Array, targets: jax.Array, rate: jax.Array) -> jax.Array:
    """Probability that each row is no lapse, [m], given its prediction and target [m, c] and the rate."""
    told = (1.0 - rate) * jnp.sum(targets * probs, axis=-1)
    told /= told + rate / targets.shape[1] + jnp.finfo(told.dtype).tiny
    return jnp.where(rate > 0, told, 1.0)


def with_lapses(probs: jax.Array, lapse: jax.Array, axis: int = -1) -> jax.Array:
    """(1 - e) probs + e / c of distributions over the c classes along `axis`."""
    return (1.0 - lapse) * probs + lapse / probs.shape[axis]
