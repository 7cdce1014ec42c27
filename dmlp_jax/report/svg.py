"""Draws figures in the report's style as SVG text."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmlp_jax.report.names import printable

_STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "dmlp_jax",
    # Class names are arbitrary: a $ in them must not begin a formula.
    "text.parse_math": False,
}
WIDE = (5.6, 3.2)
SQUARE = (5.6, 4.8)
COLORS = {
    "given": "#b2182b",
    "purified": "#2166ac",
    "val_only_probe": "#e08214",
    "noisy_probe": "#8073ac",
    "noisy_plus_val_probe": "#5aae61",
    "true": "#4d4d4d",
    "clean": "#01665e",
}
# Colour of labels corrected by any coupled method.
CORRECTED = "tab:brown"
# Dots per inch of rasterised parts.
_DPI = 150
# Longest class name in a figure, characters.
_LONGEST = 24


def draw(paint: Callable[[Axes], Any], size: tuple[float, float] = WIDE) -> str:
    """The SVG document, from '<svg' on, of what `paint` draws; equal drawings give equal text.

    Args:
        paint: function that draws on given axes.
        size: width and height, inches.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", dpi=_DPI, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def legend(axes: Axes, entries: tuple[list, list[str]] | None = None, **options: Any) -> None:
    """Adds a legend in two columns below the axes, for `entries` (handles, labels) or for all lines."""
    entries = axes.get_legend_handles_labels() if entries is None else entries
    below = {"frameon": False, "ncols": 2, "loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    axes.legend(*entries, **below | options)


def short(names: tuple[str, ...]) -> list[str]:
    """Class names for figures: on one line, cut where they are long."""
    return [printable(name, _LONGEST) for name in names]
