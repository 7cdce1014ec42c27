"""Selects rows whose label agrees with those of their neighbours, as MOIT and Sel-CL do, on the host."""

from collections.abc import Callable

import numpy as np

from dmlp_jax.retrain.methods import division

Voter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def select(
    embeddings: np.ndarray, labels: np.ndarray, classes: int, vote: Voter, quantile: float
) -> np.ndarray:
    """Which rows are selected, bool [n]: as many of each class, those that agree most with their neighbours.

    Neighbours vote twice: with the given labels, then with the winners of the first vote. The number of rows
    of a class is a quantile, over classes, of the number of rows whose given label wins the second vote; at
    least one. A row's rank in its class is the share of its given label in the second vote, of which shares
    below .01 count as equal and so do those above .99.

    Args:
        embeddings: [n, d].
        labels: given classes [n].
        classes: number of classes c.
        vote: see `retrain.neighbours.voter`.
        quantile: in [0, 1]; between two numbers one half takes the lower one, as PyTorch's median does, and
            others interpolate.
    """
    identity = np.eye(classes, dtype=np.float32)
    winners = np.argmax(vote(embeddings, identity[labels]), axis=1)
    shares = vote(embeddings, identity[winners])
    agreeing = np.bincount(labels[np.argmax(shares, axis=1) == labels], minlength=classes)
    if quantile == 0.5:
        count = int(np.quantile(agreeing, quantile, method="lower"))
    else:
        count = int(np.quantile(agreeing, quantile))
    share = np.clip(shares[np.arange(len(labels)), labels], 0.01, 0.99)
    return division.smallest_per_class(-share, labels, max(1, count))
