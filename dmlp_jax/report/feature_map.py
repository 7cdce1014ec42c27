"""Draws the features in two dimensions (PCA or UMAP), coloured by whether the label changed."""

from typing import Any

import numpy as np

from dmlp_jax.report import projection, svg
from dmlp_jax.report.svg import COLORS

# Rows on the map; larger data sets are sampled.
LIMIT = 4000


def draw(features: Any, changed: np.ndarray, method: str = "pca", limit: int = LIMIT) -> str:
    """The map as SVG text; the points are rasterised, so that its size does not grow with their number.

    Args:
        features: [n, d], anything that can be indexed by an array of row numbers; only the sample is read.
        changed: whether the purified label differs from the given one, bool [n].
        method: see `projection.embed`.
        limit: most rows that are drawn, a random sample with a fixed seed.

    Raises:
        UserError: see `projection.check`.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(changed))[:limit])
    sample = np.asarray(features[rows], np.float64)
    places, names = projection.embed(sample, method)
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
