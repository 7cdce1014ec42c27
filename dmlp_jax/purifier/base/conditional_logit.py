"""Fits a conditional logit model (McFadden 1974) by Newton's method.

    p(y | row) ~ exp(features[row, y] . theta + offset[row, y])

A few numbers theta weigh evidence for the classes; each piece of evidence is an array over rows and classes.
With a Gaussian prior the loss is strictly convex, so the fit exists whatever the rows are. Where they say
nothing it is the mean of the prior.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import HIGHEST

# Lengths tried of a Newton step; the best is taken.
LENGTHS = (1.0, 0.5, 0.25, 0.0625, 0.004)


def fit(
    features: jax.Array,
    targets: jax.Array,
    weight: jax.Array,
    offset: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
    steps: int = 10,
) -> jax.Array:
    """The theta [p] of the greatest posterior density.

    Args:
        features: evidence [m, c, p].
        targets: distributions [m, c].
        weight: of the rows, [m], not negative.
        offset: added to the logits, [m, c].
        mean: of the prior, [p].
        deviation: its standard deviations, [p].
        steps: Newton steps.
    """
    precision = 1.0 / deviation**2

    def log_probs(theta):
        return jax.nn.log_softmax(jnp.matmul(features, theta, precision=HIGHEST) + offset)

    def loss(theta):
        fit_to_rows = -jnp.sum(weight * jnp.sum(targets * log_probs(theta), axis=-1))
        return fit_to_rows + 0.5 * jnp.sum(precision * (theta - mean) ** 2)

    def step(_, theta):
        probs = jnp.exp(log_probs(theta))
        centre = jnp.einsum("mc,mcp->mp", probs, features, precision=HIGHEST)
        spread = features - centre[:, None]
        weighted = weight[:, None] * probs
        hessian = jnp.einsum("mc,mcp,mcq->pq", weighted, spread, spread, precision=HIGHEST)
        gradient = jax.grad(loss)(theta)
        move = ridge.solve(hessian + jnp.diag(precision), jnp.float32(0), gradient[:, None])[:, 0]
        tried = theta - jnp.asarray((*LENGTHS, 0.0), theta.dtype)[:, None] * move
        losses = jax.lax.map(loss, tried)
        return tried[jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))]

    return jax.lax.fori_loop(0, steps, step, mean)
