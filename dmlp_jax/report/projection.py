"""Projects features into two dimensions, by PCA or UMAP."""

import importlib
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError

METHODS = ("pca", "umap", "none")


def check(method: str) -> None:
    """Checks that `method`, one of `METHODS`, is available.

    Raises:
        UserError: an unknown method, or one whose library is not installed.
    """
    if method not in METHODS:
        raise UserError(f"report.map is {method!r}; it must be one of {', '.join(METHODS)}")
    if method == "umap":
        _umap()


def embed(features: np.ndarray, method: str = "pca") -> tuple[np.ndarray, tuple[str, str]]:
    """Coordinates of rows [n, d] in the plane, [n, 2] float64, and the names of the axes.

    Args:
        features: float64.
        method: 'pca', the two directions of largest variance, or 'umap' (McInnes et al. 2018) on 50 of them,
            which needs the extra `umap`.

    Raises:
        UserError: see `check`.
    """
    check(method)
    centred = features - features.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    total = max((lengths**2).sum(), np.finfo(np.float64).tiny)
    # A direction's sign is arbitrary; its largest entry is made positive, so that maps do not flip.
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])[:, None]
    kept = centred @ directions[: 2 if method == "pca" else 50].T
    if method == "umap" and len(features) > 3:
        neighbours = min(15, len(features) - 1)
        places = _umap().UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(kept)
        return np.asarray(places, np.float64), ("UMAP 1", "UMAP 2")
    padded = np.pad(kept[:, :2], ((0, 0), (0, 2 - min(kept.shape[1], 2))))
    shares = [*(lengths**2 / total), 0.0][:2]
    names = [f"PCA {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
    return padded, (names[0], names[1])


def _umap() -> Any:
    try:
        return importlib.import_module("umap")
    except ImportError as error:
        raise UserError(
            "umap needs umap-learn, which is not installed: pip install umap-learn, or use pca"
        ) from error
