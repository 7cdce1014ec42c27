"""Solves ridge regression from features to labels in closed form (Eq. 4-5 of the paper).

The Gram matrix does not depend on the labels, so it is inverted once and used many times. Features are always
an argument, never closed over: XLA would fold the Gram matrix at compile time. LAPACK is only ever called on
one matrix at a time: on CPU its batched calls (jaxlib 0.10) wait for the thread pool from inside it, and two
at once can wait for each other for ever. Under `jax.vmap` these functions run one after the other. All
products run in float32 at the highest precision, since TF32 and bfloat16 move the labels' gradient by 0.1 to
1 %.
"""

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full float32 precision, batched over leading axes like `jnp.matmul`."""
    return jnp.matmul(a, b, precision=HIGHEST)


def gram(features: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """F^T diag(weight) F, [d, d], for features [n, d] and row weights [n] (all 1 if None)."""
    weighted = features if weight is None else features * weight[:, None]
    return matmul(features.T, weighted)


def mean_eigenvalue(gram_matrix: jax.Array, width: jax.Array | int | None = None) -> jax.Array:
    """Trace / d of a Gram matrix [d, d]: the unit in which penalties are independent of the data's scale.

    Args:
        gram_matrix: [d, d].
        width: another d: the number of columns before `rows/span.py` left out those without any variation.
    """
    return jnp.trace(gram_matrix) / (gram_matrix.shape[-1] if width is None else width)


@jax.custom_batching.sequential_vmap
def solve(gram_matrix: jax.Array, penalty: jax.Array, moment: jax.Array) -> jax.Array:
    """The ridge solution (F^T F + penalty I)^-1 moment by Cholesky's factorisation (Eq. 4), [d, k].

    Args:
        gram_matrix: F^T F, [d, d].
        penalty: lambda of Eq. 4, positive, in the units of the Gram matrix.
        moment: right-hand sides [d, k]; F^T Y for the weights that fit labels Y.
    """
    identity = jnp.eye(gram_matrix.shape[-1], dtype=gram_matrix.dtype)
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram_matrix + penalty * identity), moment)


@jax.custom_batching.sequential_vmap
def spectrum(gram_matrix: jax.Array) -> jax.Array:
    """Eigenvalues of a Gram matrix [d, d] in ascending order, [d]."""
    return jnp.linalg.eigvalsh(gram_matrix)


def inverse(gram_matrix: jax.Array, penalty: jax.Array | float) -> jax.Array:
    """(F^T F + penalty I)^-1, [d, d], symmetric: for many solutions and their derivatives.

    `matmul(inverse, F^T Y)` is the transform w*(Y) of Eq. 5.

    Args:
        gram_matrix: F^T F, [d, d].
        penalty: lambda of Eq. 4, positive, in the units of the Gram matrix.
    """
    identity = jnp.eye(gram_matrix.shape[-1], dtype=gram_matrix.dtype)
    found = solve(gram_matrix, jnp.asarray(penalty, gram_matrix.dtype), identity)
    return 0.5 * (found + found.T)
