"""Solves ridge regression on kernel features in closed form (Eq. 4), for every fold of the clean rows.

Labels change from round to round; everything here but `solve` is computed once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed.kernel import Kernel
from dmlp_jax.purifier.rows import clean_set
from dmlp_jax.purifier.rows.clean_set import CleanSet

# L2 strength of ridge regression, in mean eigenvalues of the Gram matrix, on kernel features and on linear
# ones. Labels hardly depend on it.
KERNEL_PENALTY = 0.05
LINEAR_PENALTY = 0.3


class KernelRidge(NamedTuple):
    """Ridge regression of every fold as far as it does not depend on labels.

    Attributes:
        inverses: (F^T F + val_weight F_v^T F_v + penalty I)^-1 for the kernel features F of training rows and
            F_v of clean rows, [k + 1, p + 1, p + 1].
        whitening: U of `kernel.py`, or None.
        leverage: mean leverage of a training row, [k + 1].
        clean_moment: val_weight times the sum of k(x) (y - 1 / c)^T over the clean rows that each trains on,
            [k + 1, p + 1, c].
    """

    inverses: jax.Array
    whitening: jax.Array | None
    leverage: jax.Array
    clean_moment: jax.Array


def prepare(
    kernel: Kernel | None, gram: jax.Array, clean: CleanSet, total: jax.Array, val_weight: jax.Array | float
) -> KernelRidge:
    """Computes whatever of the ridge regression does not depend on labels.

    Args:
        kernel: its kernel, or None.
        gram: sum of k(x) k(x)^T over the training rows, [p + 1, p + 1].
        clean: the clean rows, mapped by the kernel.
        total: sum of the training rows' weights.
        val_weight: weight of a clean row beside a training row of weight 1.
    """
    share = LINEAR_PENALTY if kernel is None else KERNEL_PENALTY
    whitening = kernel_lib.whitening(kernel, gram, share)

    def inner(matrix):
        return matrix if whitening is None else matmul(whitening.T, matmul(matrix, whitening))

    of_rows = inner(gram)
    penalty = share * jnp.trace(of_rows) / kernel_lib.dimension(kernel, clean)

    def of_fold(mask):
        of_clean = val_weight * inner(ridge.gram(clean.features, mask))
        inverse = ridge.inverse(of_rows + of_clean, penalty)
        return inverse, jnp.sum(inverse * of_rows) / total

    inverses, leverage = jax.lax.map(of_fold, clean.masks)
    offset = matmul(clean.masks, clean.features)[:, :, None] / clean.targets.shape[1]
    return KernelRidge(inverses, whitening, leverage, val_weight * (clean_set.moment(clean) - offset))


def solve(solver: KernelRidge, moment: jax.Array) -> jax.Array:
    """Weights [k + 1, p + 1, c] of ridge regression (Eq. 4); `moment` is the sum of k(x) (Q - 1 / c)^T."""
    whole = moment + solver.clean_moment
    if solver.whitening is None:
        return matmul(solver.inverses, whole)
    # From the right: the product of the three matrices has large entries that cancel.
    return matmul(solver.whitening, matmul(solver.inverses, matmul(solver.whitening.T, whole)))
