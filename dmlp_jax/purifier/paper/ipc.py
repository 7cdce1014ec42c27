"""Implements Intrinsic Primary Correction (IPC): labels go down the gradient of the clean loss (Eq. 6-7).

The loss of a labelling is that of its closed-form ridge solution on the clean set. `jax.grad` differentiates
through the solution: the inverse does not depend on the labels, so nothing is unrolled.
With A = F^T F + lambda I and G = dL/dV at V = F_v A^-1 F^T P, P the softmaxed labels, the gradient in P is
F A^-1 F_v^T G; the tests compare with it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul


class Validation(NamedTuple):
    """The clean rows of the validation loss.

    Attributes:
        features: [m, d].
        targets: one-hot [m, c].
        weight: row weights [m]; 0 for held-out rows.
    """

    features: jax.Array
    targets: jax.Array
    weight: jax.Array


def validation_loss(
    predictions: jax.Array, targets: jax.Array, weight: jax.Array, entropy_weight: jax.Array | float
) -> jax.Array:
    """Mean squared error plus entropy of the predictions on the clean set (Eq. 6), a scalar.

    Ridge predictions are not distributions, so the entropy is of their softmax; the paper leaves it open.

    Args:
        predictions: V, [m, c].
        targets: one-hot clean labels [m, c].
        weight: row weights [m]; 0 for held-out rows.
        entropy_weight: weight of the entropy.
    """
    squared = jnp.sum((predictions - targets) ** 2, axis=-1)
    log_q = jax.nn.log_softmax(predictions)
    entropy = -jnp.sum(jnp.exp(log_q) * log_q, axis=-1)
    return jnp.sum(weight * (squared + entropy_weight * entropy)) / jnp.maximum(jnp.sum(weight), 1.0)


def moment_loss(
    moment: jax.Array, inverse: jax.Array, val: Validation, entropy_weight: jax.Array | float
) -> jax.Array:
    """Validation loss of the ridge solution (Eq. 5) of labels Y, a scalar.

    Args:
        moment: F^T diag(weight) Y [d, c], through which alone the solution depends on the labels.
        inverse: (F^T diag(weight) F + lambda I)^-1 for the same features, [d, d].
        val: the clean rows.
        entropy_weight: weight of the entropy in `validation_loss`.
    """
    predictions = matmul(val.features, matmul(inverse, moment))
    return validation_loss(predictions, val.targets, val.weight, entropy_weight)


# The gradient in the label of row i is weight_i F_i @ moment_gradient(moment).
moment_gradient = jax.grad(moment_loss)


def to_simplex(labels: jax.Array, axis: int = -1) -> jax.Array:
    """Labels, classes along `axis`, clipped at 0 and scaled to sum to 1; uniform where nothing is left."""
    clipped = jnp.maximum(labels, 0.0)
    total = jnp.sum(clipped, axis=axis, keepdims=True)
    return jnp.where(total > 0, clipped / jnp.where(total > 0, total, 1.0), 1.0 / labels.shape[axis])


def curvature(
    gram_matrix: jax.Array, inverse: jax.Array, val_features: jax.Array, iterations: int = 30
) -> jax.Array:
    """Curvature of sum_i ||V_i - Y_i||^2 / 2 in the labels: the top eigenvalue of K K^T, K = F_v A^-1 F^T.

    A plain gradient step on that sum is stable up to 2 / curvature. K K^T [m, m] shares its non-zero
    eigenvalues with a [d, d] product, on which power iteration runs.

    Args:
        gram_matrix: F^T F, [d, d].
        inverse: (F^T F + lambda I)^-1, [d, d].
        val_features: [m, d].
        iterations: power iterations.
    """
    gram_val = ridge.gram(val_features)

    def multiply(vector):
        inner = matmul(inverse, matmul(gram_matrix, vector))
        return matmul(inverse, matmul(gram_val, inner))

    def body(_, vector):
        return _unit(multiply(vector))

    start = _unit(jnp.sum(jnp.abs(val_features), axis=0)[:, None])
    top = jax.lax.fori_loop(0, iterations, body, start)
    return jnp.sum(top * multiply(top))


def _unit(vector: jax.Array) -> jax.Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), jnp.finfo(vector.dtype).tiny)
