"""Draws label accuracy, losses, estimated noise and test accuracy as SVG figures."""

from typing import Any

import numpy as np

from dmlp_jax.report import intervals, svg
from dmlp_jax.report.names import of_source
from dmlp_jax.report.svg import COLORS, CORRECTED

# Name of the area that the cells of `confusion` fill, in its SVG.
CELLS = "confusion-cells"


def label_accuracy(accuracy: np.ndarray, baselines: dict[str, float], taken: int | None = None) -> str:
    """Label accuracy over the purifier's steps, as in the paper's Fig. 4, with the baselines as lines.

    Args:
        accuracy: accuracy of the purified labels after each step, [steps].
        baselines: accuracy of each baseline's labels.
        taken: the step that the labels are from, see `findings.step`.
    """
    lowest = min(accuracy.min(), *(value for name, value in baselines.items() if name != "given"))

    def draw(axes):
        steps = np.arange(1, len(accuracy) + 1)
        axes.plot(steps, 100 * accuracy, color=COLORS["purified"], lw=2, label="purified")
        for name, value in baselines.items():
            label = of_source(name)
            if value < lowest - 0.2:
                # A line far below the others would flatten the curves, so it is in the legend only.
                axes.plot(
                    [],
                    [],
                    color=COLORS.get(name, CORRECTED),
                    ls="--",
                    lw=1.2,
                    label=f"{label} ({value:.0%}, below)",
                )
            else:
                axes.axhline(100 * value, color=COLORS.get(name, CORRECTED), ls="--", lw=1.2, label=label)
        _mark(axes, taken)
        axes.set(xlabel="step", ylabel="labels that are right, %", title="Label accuracy")
        svg.legend(axes)

    return svg.draw(draw)


def course(history: dict[str, np.ndarray], taken: int | None = None) -> str:
    """Loss on clean rows and share of changed label mass over the purifier's steps; needs no true labels.

    Args:
        history: arrays [steps], 'val_loss', 'changed', perhaps 'held_out_loss'.
        taken: the step that the labels are from, see `findings.step`.
    """

    def draw(axes):
        steps = np.arange(1, len(history["changed"]) + 1)
        names = {"held_out_loss": "held-out clean rows", "val_loss": "all clean rows"}
        for (name, label), style in zip(names.items(), ("-", "--"), strict=True):
            if name in history:
                axes.plot(steps, history[name], style, color=COLORS["purified"], lw=1.8, label=label)
        _mark(axes, taken)
        axes.set(xlabel="step", ylabel="loss, nats", title="Loss on clean rows, labels moved")
        other = axes.twinx()
        other.plot(steps, 100 * history["changed"], color=COLORS["given"], lw=1.8, label="labels moved")
        other.set_ylabel("mass moved off the given class, %", color=COLORS["given"])
        other.grid(False)
        lines = [*axes.get_lines(), *other.get_lines()]
        svg.legend(axes, (lines, [line.get_label() for line in lines]))

    return svg.draw(draw)


def _mark(axes: Any, taken: int | None) -> None:
    if taken is not None:
        axes.axvline(taken, color="0.4", ls=":", lw=1.2, label="taken")


def confusion(given: np.ndarray, purified: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Estimate of the noise p(given | true): shares of given labels (columns) in each purified class (rows).

    For up to ten classes each share has its 95 % Wilson interval, which covers sampling error and assumes
    that the purified labels are right.

    Args:
        given: [n].
        purified: [n].
        class_names: one per class.
    """
    classes, names = len(class_names), svg.short(class_names)
    counts = count_pairs(given, purified, classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    lower, upper = intervals.wilson(counts, np.broadcast_to(totals, counts.shape))

    def draw(axes):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        # A click on a cell opens its rows: the page finds the cell by its place in this area.
        axes.patch.set_gid(CELLS)
        axes.grid(False)
        axes.set(
            xlabel="given label",
            ylabel="purified label",
            title="Estimated noise: given labels of each purified class, %",
        )
        if classes <= 25:
            axes.set_xticks(range(classes), names, rotation=90)
            axes.set_yticks(range(classes), names)
        for (row, column), value in np.ndenumerate(shares) if classes <= 12 else ():
            shade = "white" if value > 50 else "black"
            lift = 0.1 if classes <= 10 else 0
            axes.text(column, row - lift, f"{value:.0f}", ha="center", va="center", color=shade, fontsize=7)
            if lift and totals[row, 0]:
                limits = f"{100 * lower[row, column]:.0f}-{100 * upper[row, column]:.0f}"
                axes.text(column, row + 0.27, limits, ha="center", va="center", color=shade, fontsize=4.5)
        axes.figure.colorbar(image, ax=axes, shrink=0.8)

    return svg.draw(draw, svg.SQUARE)


def count_pairs(given: np.ndarray, purified: np.ndarray, classes: int) -> np.ndarray:
    """Rows by purified label (first axis) and given label, [c, c]."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (purified, given), 1)
    return counts


def class_noise(
    transition: np.ndarray,
    class_names: tuple[str, ...],
    true_rates: np.ndarray | None,
    class_rows: np.ndarray | None = None,
) -> str:
    """Estimated share of wrong given labels in each true class, beside the measured share where known.

    Args:
        transition: estimate of p(given | true), [c, c].
        class_names: one per class.
        true_rates: measured shares [c], or None.
        class_rows: estimated number of rows of each class [c], for 95 % Wilson intervals; None draws none.
    """
    rates, names = 1 - np.diag(transition), svg.short(class_names)

    def draw(axes):
        places = np.arange(len(names))
        axes.bar(places, 100 * rates, 0.7, color=COLORS["purified"], label="estimated", alpha=0.8)
        if class_rows is not None:
            lower, upper = intervals.wilson(rates * class_rows, class_rows)
            # An estimate shrunk towards the other classes' may lie outside the interval from its own rows.
            ends = 100 * np.maximum([rates - lower, upper - rates], 0)
            axes.errorbar(places, 100 * rates, ends, fmt="none", ecolor="black", lw=1, label="95 % interval")
        if true_rates is not None:
            axes.plot(places, 100 * true_rates, "D", color=COLORS["given"], ms=4, label="measured")
        axes.set(ylabel="given labels that are wrong, %", title="Noise of each class", ylim=(0, 100))
        turned = len(names) <= 25 and max(map(len, names)) > 2
        if len(names) <= 25:
            axes.set_xticks(places, names, rotation=90 if turned else 0)
        axes.grid(axis="x", visible=False)
        # Rotated names need the room below the axes, so the legend goes above.
        options: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1, 1), "ncols": 3}
        svg.legend(axes, **(options if turned else {}))

    return svg.draw(draw)


def test_accuracy(curves: dict[str, list[float]]) -> str:
    """Test accuracy of the retrained networks over their epochs.

    Args:
        curves: by source of labels, one value for each epoch.
    """

    def draw(axes):
        for name, values in curves.items():
            axes.plot(
                np.arange(1, len(values) + 1),
                100 * np.asarray(values),
                color=COLORS.get(name, CORRECTED),
                lw=1.8,
                label=of_source(name),
            )
        axes.set(xlabel="epoch", ylabel="test accuracy, %", title="Networks trained on the labels")
        svg.legend(axes)

    return svg.draw(draw)
