"""Draws the features in two dimensions (PCA or UMAP), coloured by whether the label changed."""

import importlib
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.report import svg
from dmlp_jax.report.svg import COLORS

METHODS = ("pca", "umap", "none")
# Rows on the map; larger data sets are sampled.
LIMIT = 4000


def check(method: str) -> None:
    """Checks that `method`, one of `METHODS`, is available.

    Raises:
        UserError: an unknown method, or one whose library is not installed.
    """
    if method not in METHODS:
        raise UserError(f"report.map is {method!r}; it must be one of {', '.join(METHODS)}")
    if method == "umap":
        _umap()


def draw(features: Any, changed: np.ndarray, method: str = "pca", limit: int = LIMIT) -> str:
    """The map as SVG text; the points are rasterised, so that its size does not grow with their number.

    Args:
        features: [n, d], anything that can be indexed by an array of row numbers; only the sample is read.
        changed: whether the purified label differs from the given one, bool [n].
        method: see `embed`.
        limit: most rows that are drawn, a random sample with a fixed seed.

    Raises:
        UserError: see `check`.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(changed))[:limit])
    sample = np.asarray(features[rows], np.float64)
    places, names = embed(sample, method)
    moved = changed[rows]

    def paint(axes):
        for mask, color, label in (
            (~moved, COLORS["purified"], "label kept"),
            (moved, COLORS["given"], "label changed"),
        ):
            axes.plot(*places[mask].T, ".", ms=3, alpha=0.6, color=color, label=label, rasterized=True)
        of = "all" if len(rows) == len(changed) else f"{len(rows):,} of"
        axes.set(xlabel=names[0], ylabel=names[1], title=f"Map of the features, {of} {len(changed):,} rows")
        axes.set_xticks([])
        axes.set_yticks([])
        svg.legend(axes, bbox_to_anchor=(0.5, -0.06), markerscale=4)

    return svg.draw(paint, svg.SQUARE)


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
