"""Maps rows to the features of a kernel, so that ridge regression follows class borders that are not flat.

    k(x, z) = (exp(cos(x, z)) - 1) / (e - 1)

On rows of one length, as standardised rows are, this is a Gaussian kernel less a constant: all powers of the
cosine are in it, the first one with the most weight. Without the constant it keeps its precision in float32.
The map is Nystroem's (Williams and Seeger 2001), with p training rows l_j as its points:

    phi(x) = U^T k(x),    k(x)_j = k(x, l_j),    K_LL = V S V^T,    U = V S^(-1/2)

Ridge regression on phi is kernel ridge regression with functions spanned by the points. Sums over the
training rows are taken of k(x), which costs one product with the points, and mapped by U afterwards.

Without a kernel (`None`) the functions below leave the rows as they are: ridge regression is linear then.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.rows import sample
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanSet

# At most one in so many training rows is a point. A point has more leverage than other rows; with more points
# the mean leverage, which leave-one-out predictions go by, would be right for neither.
ONE_IN = 4
# Added to the eigenvalues of K_LL, over the penalty. Ridge regression hardly uses smaller ones, which would
# make rounding errors large.
ADDED = 1.0
# Least ratio of the penalty to rounding errors.
PRECISION = 2.0


class Kernel(NamedTuple):
    """The points of the kernel.

    Attributes:
        points: standardised rows without the constant column, over their squared length, [p, d].
        used: 1 for points, 0 for places without one, [p].
        among: K_LL, [p, p].
    """

    points: jax.Array
    used: jax.Array
    among: jax.Array


def make(train: Training, count: int, most: int) -> Kernel | None:
    """Takes points from all over the training rows, in their order over all devices.

    Args:
        train: the training rows.
        count: their number on this device; the last ones may be padding of weight 0.
        most: most points; one in `ONE_IN` rows is taken where that is less. 0 gives None.
    """
    if not most:
        return None
    place, size = sample.places(train, count, most, ONE_IN)
    features, _, used = sample.gather(train, place, size)
    points = features[:, :-1]
    squared_length = jnp.maximum(jnp.max(jnp.sum(points**2, axis=1)), jnp.finfo(jnp.float32).tiny)
    scaled = points / squared_length
    return Kernel(scaled, used, used[:, None] * _of_cosine(matmul(points, scaled.T)) * used)


def similarities(kernel: Kernel | None, rows: jax.Array) -> jax.Array:
    """k(x) and the constant, [b, p + 1], of standardised rows [b, d + 1]."""
    if kernel is None:
        return rows
    found = kernel.used * _of_cosine(matmul(rows[:, :-1], kernel.points.T))
    return jnp.concatenate([found, rows[:, -1:]], axis=1)


def clean_rows(kernel: Kernel | None, clean: CleanSet) -> CleanSet:
    """The clean rows with k(x) in place of their features."""
    if kernel is None:
        return clean
    mapped = jax.lax.map(lambda rows: similarities(kernel, rows), clean.chunks.features)
    return clean._replace(
        features=similarities(kernel, clean.features), chunks=clean.chunks._replace(features=mapped)
    )


def dimension(kernel: Kernel | None, clean: CleanSet) -> jax.Array | int:
    """Number of features that `similarities` gives, the constant included."""
    return clean.width if kernel is None else jnp.sum(kernel.used) + 1.0


def whitening(kernel: Kernel | None, gram: jax.Array, penalty: float) -> jax.Array | None:
    """U, with 1 for the constant, [p + 1, p + 1]; None without a kernel.

    A constant is added to S, so that rounding errors in directions of small eigenvalue stay small.

    Args:
        kernel: the points.
        gram: sum of k(x) k(x)^T over the training rows, [p + 1, p + 1].
        penalty: of ridge regression on phi, in training rows per point.
    """
    if kernel is None:
        return None
    values, vectors = jnp.linalg.eigh(kernel.among)
    # The last entry of the Gram matrix is the sum of the weights.
    tolerated = penalty * gram[-1, -1] / jnp.maximum(jnp.sum(kernel.used), 1.0)
    rounding = jnp.finfo(gram.dtype).eps * jnp.linalg.norm(gram)
    least = PRECISION * rounding / jnp.maximum(tolerated, jnp.finfo(gram.dtype).tiny)
    columns = vectors / jnp.sqrt(jnp.maximum(values, 0.0) + jnp.maximum(least, ADDED * penalty))
    return jnp.pad(columns, (0, 1)).at[-1, -1].set(1.0)


def _of_cosine(cosine: jax.Array) -> jax.Array:
    return (jnp.exp(cosine) - 1.0) / (math.e - 1.0)
