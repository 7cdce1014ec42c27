"""Corrects soft labels and finds the prototypes of classes, as RRL does, on the host."""

import jax
import numpy as np


def kept(soft: np.ndarray, labels: np.ndarray, bound: float) -> np.ndarray:
    """Soft labels [n, c], one-hot where they give the label [n] a probability above `bound`."""
    found, rows = np.array(soft, np.float32), np.arange(len(soft))
    trusted = soft[rows, labels] > bound
    found[trusted] = 0.0
    found[rows[trusted], labels[trusted]] = 1.0
    return found


def prototypes_of(
    embeddings: np.ndarray, labels: np.ndarray, sure: np.ndarray, old: jax.Array | np.ndarray
) -> np.ndarray:
    """Normalised means of the embeddings of every class, [c, d]; those of before for a class without rows.

    Args:
        embeddings: [n, d].
        labels: classes of the rows [n].
        sure: which rows count, bool [n].
        old: prototypes of before [c, d].
    """
    found = np.array(old, np.float32)
    for label in np.unique(labels[sure]):
        mean = embeddings[sure & (labels == label)].mean(axis=0)
        found[label] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return found
