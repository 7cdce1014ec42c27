"""The figures of the report, each an SVG document as text."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",
    "svg.hashsalt": "dmlp_jax",
    # A class may be called "$100": a dollar sign begins no formula.
    "text.parse_math": False,
}
_WIDE = (5.6, 3.2)
COLORS = {
    "given": "#b2182b",
    "purified": "#2166ac",
    "val_only_probe": "#e08214",
    "noisy_probe": "#8073ac",
    "noisy_plus_val_probe": "#5aae61",
    "true": "#4d4d4d",
    "clean": "#01665e",
}


def label_accuracy(accuracy: np.ndarray, baselines: dict[str, float]) -> str:
    """Label accuracy over the purifier's steps, as in the paper's Fig. 4, with the baselines as lines.

    Args:
        accuracy: of the purified labels after each step, [steps].
        baselines: accuracy of the labels that each baseline gives.
    """
    lowest = min(accuracy.min(), *(value for name, value in baselines.items() if name != "given"))

    def draw(axes):
        steps = np.arange(1, len(accuracy) + 1)
        axes.plot(steps, 100 * accuracy, color=COLORS["purified"], lw=2, label="purified")
        for name, value in baselines.items():
            label = name.replace("_", " ")
            if value < lowest - 0.2:
                # Far below everything else it would only flatten the curves.
                axes.plot(
                    [],
                    [],
                    color=COLORS[name],
                    ls="--",
                    lw=1.2,
                    label=f"{label} ({value:.0%}, below)",
                )
            else:
                axes.axhline(100 * value, color=COLORS[name], ls="--", lw=1.2, label=label)
        axes.set(xlabel="step", ylabel="labels that are right, %", title="Label accuracy")
        _legend(axes, axes.get_legend_handles_labels())

    return _svg(draw, _WIDE)


def course(history: dict[str, np.ndarray]) -> str:
    """Loss on clean rows and share of the labels that has moved over the purifier's steps; needs no truth.

    Args:
        history: arrays [steps], 'val_loss', 'changed', perhaps 'held_out_loss'.
    """

    def draw(axes):
        steps = np.arange(1, len(history["changed"]) + 1)
        names = {"held_out_loss": "held-out clean rows", "val_loss": "all clean rows"}
        for (name, label), style in zip(names.items(), ("-", "--"), strict=True):
            if name in history:
                axes.plot(steps, history[name], style, color=COLORS["purified"], lw=1.8, label=label)
        axes.set(xlabel="step", ylabel="loss, nats", title="Loss on clean rows, labels moved")
        other = axes.twinx()
        other.plot(steps, 100 * history["changed"], color=COLORS["given"], lw=1.8, label="labels moved")
        other.set_ylabel("mass moved off the given class, %", color=COLORS["given"])
        other.grid(False)
        lines = [*axes.get_lines(), *other.get_lines()]
        _legend(axes, (lines, [line.get_label() for line in lines]))

    return _svg(draw, _WIDE)


def confusion(given: np.ndarray, purified: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Heatmap of purified labels (rows, sum to 100 %) against given ones (columns).

    Args:
        given: [n].
        purified: [n].
        class_names: one per class.
    """
    classes = len(class_names)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (purified, given), 1)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(axes):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.grid(False)
        axes.set(
            xlabel="given label",
            ylabel="purified label",
            title="Given labels of each purified class, %",
        )
        if classes <= 25:
            axes.set_xticks(range(classes), class_names, rotation=90)
            axes.set_yticks(range(classes), class_names)
        if classes <= 12:
            for (row, column), value in np.ndenumerate(shares):
                shade = "white" if value > 50 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=shade, fontsize=7)
        axes.figure.colorbar(image, ax=axes, shrink=0.8)

    return _svg(draw, (5.6, 4.8))


def class_noise(transition: np.ndarray, class_names: tuple[str, ...], true_rates: np.ndarray | None) -> str:
    """Estimated share of wrong given labels in each true class, beside the measured one where known.

    Args:
        transition: estimate of p(given | true), [c, c].
        class_names: one per class.
        true_rates: measured shares [c], or None.
    """
    estimated = 100 * (1 - np.diag(transition))

    def draw(axes):
        places = np.arange(len(class_names))
        axes.bar(places, estimated, 0.7, color=COLORS["purified"], label="estimated")
        if true_rates is not None:
            axes.plot(places, 100 * true_rates, "D", color="black", ms=4, label="measured")
        axes.set(ylabel="given labels that are wrong, %", title="Noise of each class", ylim=(0, 100))
        if len(class_names) <= 25:
            axes.set_xticks(places, class_names, rotation=90 if max(map(len, class_names)) > 2 else 0)
        axes.grid(axis="x", visible=False)
        _legend(axes, axes.get_legend_handles_labels())

    return _svg(draw, _WIDE)


def test_accuracy(curves: dict[str, list[float]]) -> str:
    """Test accuracy of the retrained networks over their epochs.

    Args:
        curves: by source of labels, one value an epoch.
    """

    def draw(axes):
        for name, values in curves.items():
            axes.plot(
                np.arange(1, len(values) + 1),
                100 * np.asarray(values),
                color=COLORS.get(name, "tab:brown"),  # labels that a method corrected
                lw=1.8,
                label=f"{name.replace('_', ' ')} labels",
            )
        axes.set(xlabel="epoch", ylabel="test accuracy, %", title="Networks trained on the labels")
        _legend(axes, axes.get_legend_handles_labels())

    return _svg(draw, _WIDE)


def _legend(axes: Axes, entries: tuple[list, list[str]]) -> None:
    """A legend in two columns below the axis."""
    axes.legend(*entries, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _svg(draw: Callable[[Axes], Any], size: tuple[float, float]) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
