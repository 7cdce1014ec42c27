"""Closed-form ridge regression from features to labels (Eq. 4-5 of the paper).

The Gram matrix does not depend on the labels, so it is factored once and solved against many times.
Features are always an argument, never closed over: XLA would fold the Gram matrix at compile time.
All products run in float32 at the highest precision, since TF32 and bfloat16 move the labels' gradient
by 0.1 to 1 %.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST


class RidgeFactor(NamedTuple):
    """Cholesky factor of F^T F + penalty I.

    Attributes:
        cholesky: [d, d], upper triangular.
    """

    cholesky: jax.Array


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full float32 precision, batched over leading axes like `jnp.matmul`."""
    return jnp.matmul(a, b, precision=HIGHEST)


def gram(features: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """F^T diag(weight) F, [d, d], for features [n, d] and row weights [n] (all 1 if None)."""
    weighted = features if weight is None else features * weight[:, None]
    return matmul(features.T, weighted)


def mean_eigenvalue(gram_matrix: jax.Array) -> jax.Array:
    """Trace / d of a Gram matrix [d, d]: the unit in which penalties are independent of the data's scale."""
    return jnp.trace(gram_matrix) / gram_matrix.shape[-1]


def factor(gram_matrix: jax.Array, penalty: jax.Array | float) -> RidgeFactor:
    """Factor of F^T F + penalty I.

    Args:
        gram_matrix: F^T F, [d, d].
        penalty: lambda of Eq. 4, positive, in the units of the Gram matrix.
    """
    identity = jnp.eye(gram_matrix.shape[-1], dtype=gram_matrix.dtype)
    cholesky, _ = jax.scipy.linalg.cho_factor(gram_matrix + penalty * identity)
    return RidgeFactor(cholesky)


def apply_inverse(ridge: RidgeFactor, right: jax.Array) -> jax.Array:
    """(F^T F + penalty I)^-1 right, for right [d, k]."""
    return jax.scipy.linalg.cho_solve((ridge.cholesky, False), right)


def solve(ridge: RidgeFactor, features: jax.Array, labels: jax.Array) -> jax.Array:
    """The transform w*(Y) = (F^T F + lambda I)^-1 F^T Y of Eq. 5, [d, c].

    Args:
        ridge: factor for the same features.
        features: [n, d].
        labels: soft labels [n, c].
    """
    return apply_inverse(ridge, matmul(features.T, labels))
