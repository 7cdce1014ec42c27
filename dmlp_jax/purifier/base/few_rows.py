"""Adds a few weighted rows to a ridge regression that is solved already.

With A = F^T F + penalty I and the regression of the rows F alone, w_0 = A^-1 F^T Y, further rows V of weights
D change the solution by

    w - w_0 = A^-1 V^T D^1/2 (I + D^1/2 V A^-1 V^T D^1/2)^-1 D^1/2 (Y_v - V w_0)

(the matrix inversion lemma, in the form that subtracts predictions and not solutions). So once A^-1 V^T is
known, other weights of m rows cost a system of m equations in place of one of d.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul


class Solved(NamedTuple):
    """A ridge regression, and what it says about rows to be added.

    Attributes:
        weights: w_0, [d, c].
        pulled: A^-1 V^T, [d, m].
    """

    weights: jax.Array
    pulled: jax.Array


def solve(gram: jax.Array, penalty: jax.Array, moment: jax.Array, rows: jax.Array) -> Solved:
    """Solves the ridge regression without the rows that will be added.

    Args:
        gram: F^T F, [d, d].
        penalty: positive, in the units of the Gram matrix.
        moment: F^T Y, [d, c].
        rows: V, [m, d].
    """
    found = ridge.solve(gram, penalty, jnp.concatenate([moment, rows.T], axis=1))
    return Solved(found[:, : moment.shape[1]], found[:, moment.shape[1] :])


def add(solved: Solved, rows: jax.Array, targets: jax.Array, weight: jax.Array) -> jax.Array:
    """Weights [d, c] of the ridge regression with rows V added.

    Args:
        solved: see `solve`.
        rows: V, [m, d].
        targets: Y_v, [m, c].
        weight: of these rows, the diagonal of D, [m], not negative.
    """
    root = jnp.sqrt(weight)[:, None]
    inner = root * matmul(rows, solved.pulled) * root.T
    missed = root * (targets - matmul(rows, solved.weights))
    return solved.weights + matmul(
        solved.pulled, root * ridge.solve(inner, jnp.ones((), inner.dtype), missed)
    )
