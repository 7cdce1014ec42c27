"""Finds nearest neighbours by cosine similarity, inside jit."""

import jax
import jax.numpy as jnp
import numpy as np

_HIGHEST = jax.lax.Precision.HIGHEST


def nearest(
    rows: jax.Array, bank: jax.Array, count: int, leave_out: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The `count` rows of `bank` that are most similar to each of `rows`, the most similar first.

    Args:
        rows: rows of unit length [b, d].
        bank: rows of unit length [n, d].
        count: number of neighbours, at most n, or n - 1 with `leave_out`.
        leave_out: for each of `rows` the number of the bank's row that is no neighbour of it, [b].

    Returns:
        Cosine similarities [b, count], and indices into `bank` [b, count].
    """
    similarities = jnp.matmul(rows, bank.T, precision=_HIGHEST)
    if leave_out is not None:
        similarities = similarities.at[jnp.arange(len(rows)), leave_out].set(-jnp.inf)
    return jax.lax.top_k(similarities, count)


def unit_length(rows: np.ndarray) -> np.ndarray:
    """Rows [n, d] scaled to unit length; zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
