"""Lets the nearest neighbours of every row vote on its label, on all devices of all processes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.training import inference
from dmlp_jax.training.neighbours import nearest, unit_length

# Similarities that are held at a time: 200 MB.
_HELD = 50_000_000


def voter(
    rows: int,
    count: int,
    devices: list[jax.Device],
    *,
    temperature: float | None = None,
    own: bool = False,
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Makes the vote of the nearest neighbours among all rows, by cosine similarity.

    The vote is compiled once and may be taken with other features and labels in every epoch.

    Args:
        rows: number of rows n.
        count: number k of neighbours, at least 1; fewer where there are not so many rows.
        devices: this process's devices, which divide the voting rows among themselves.
        temperature: T, where votes are weighted by exp(similarity / T); None for equal votes.
        own: whether a row votes for itself too.

    Returns:
        `(features [n, d], labels [n, c]) -> shares of the vote [n, c]`, float32, the same in every process.
        Labels are distributions, one-hot or soft; so are the shares.
    """
    count = min(count, rows if own else rows - 1)

    def vote(bank_and_labels, numbers):
        bank, labels = bank_and_labels
        similarities, found = nearest(bank[numbers], bank, count, None if own else numbers)
        if temperature is None:
            return jnp.mean(labels[found], axis=1)
        # Normalised weights: a softmax does not overflow.
        weights = jax.nn.softmax(similarities / temperature)
        return jnp.einsum("bk,bkc->bc", weights, labels[found], precision=jax.lax.Precision.HIGHEST)

    numbers = np.arange(rows, dtype=np.int32)
    batch = min(inference.BATCH, max(1, _HELD // rows))
    over_all = inference.over_rows(vote, (numbers,), devices, batch)

    def votes(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return over_all((unit_length(features.astype(np.float32)), labels.astype(np.float32)))

    return votes
