"""Rotates rows into their span, where they have more columns than there are rows.

n + m rows span n + m dimensions at most, however many columns they have. A rotation onto that span changes no
inner product between rows. So ridge regression, gradient steps from weights within the span, discriminant
analysis and kernels give the same predictions, at the cost of matrices of n + m columns. Only what is
measured per column must go on with the number of columns before, `CleanSet.width`: the mean eigenvalue of a
Gram matrix, and a penalty on the weights per feature.

Rows on disk or spread over devices are left as they are: they are usually far more than the columns.
"""

import dataclasses

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.rows.chunks import Training


def narrow(train: Training, clean: jax.Array) -> tuple[Training, jax.Array, jax.Array | None]:
    """Rotates standardised rows into their common span, where that has fewer columns.

    Args:
        train: the training rows.
        clean: the clean rows, standardised, [m, d + 1].

    Returns:
        The training rows with features [q, b, r + 1], the clean rows [m, r + 1], and an orthonormal basis of
        their span [d, r], for `widen`; r is the number of all rows. Without a gain the arguments and None.
    """
    if train.features is None or train.axis is not None:
        return train, clean, None
    columns = clean.shape[1] - 1
    count = train.weight.size
    if count + len(clean) >= columns:
        return train, clean, None
    rotated, basis = rotate(jnp.concatenate([train.features.reshape(count, columns + 1), clean]))
    features = rotated[:count].reshape(*train.weight.shape, -1)
    return dataclasses.replace(train, features=features), rotated[count:], basis


def rotate(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinates [n, n + 1] of rows [n, d + 1] in a basis of their span, and that basis [d, n]; n <= d.

    The constant column stays the last one.
    """
    basis, coordinates = _orthonormal(rows[:, :-1].T)
    return jnp.concatenate([coordinates.T, rows[:, -1:]], axis=1), basis


def widen(kernel: jax.Array, basis: jax.Array | None) -> jax.Array:
    """Weights [d, c] for rows before `narrow`, from weights [r, c] for those after it.

    Args:
        kernel: [r, c], without the constant column.
        basis: [d, r]; None where `narrow` changed nothing.
    """
    return kernel if basis is None else matmul(basis, kernel)


@jax.custom_batching.sequential_vmap
def _orthonormal(columns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """QR decomposition of [d, r], r <= d: orthonormal columns [d, r] and coordinates in them [r, r].

    Unlike eigenvectors of the Gram matrix these are orthonormal to rounding where rows are equal or zero. One
    at a time under `jax.vmap`, for the reason given in `base/ridge.py`.
    """
    return jnp.linalg.qr(columns)
