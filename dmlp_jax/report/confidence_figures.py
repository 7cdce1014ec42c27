"""Draws the confidence of purified labels and its calibration as SVG figures."""

from typing import NamedTuple

import numpy as np

from dmlp_jax.report import intervals, svg
from dmlp_jax.report.svg import COLORS

# Points of a curve over all rows.
_POINTS = 200


class Bins(NamedTuple):
    """Bins of rows of similar confidence; arrays [b].

    Attributes:
        confidence: mean confidence of the bin.
        accuracy: share of its labels that are right.
        lower: end of the 95 % Wilson interval of `accuracy`.
        upper: likewise.
        size: rows.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    size: np.ndarray


def histogram(confidence: np.ndarray, changed: np.ndarray) -> str:
    """Histogram of the confidence of purified labels, changed labels stacked on kept ones.

    Args:
        confidence: [n], in [0, 1].
        changed: bool [n].
    """

    def draw(axes):
        lowest = min(np.floor(10 * confidence.min()) / 10, 0.9)
        axes.hist(
            [confidence[~changed], confidence[changed]],
            bins=np.linspace(lowest, 1, 41),
            stacked=True,
            color=[COLORS["purified"], COLORS["given"]],
            label=["label kept", "label changed"],
        )
        axes.set(xlabel="confidence of the purified label", ylabel="rows", title="Confidence")
        svg.legend(axes)

    return svg.draw(draw)


def coverage(confidence: np.ndarray, right: np.ndarray | None) -> str:
    """Accuracy of the most confident rows against their share of all rows (a risk-coverage curve).

    The expected accuracy is the mean confidence of the rows taken; it assumes calibrated confidence.

    Args:
        confidence: [n], in [0, 1].
        right: whether each label is right [n], for the true curve with its 95 % Wilson band; or None.
    """
    order = np.argsort(-confidence, kind="stable")
    count = np.unique(np.linspace(1, len(order), min(_POINTS, len(order))).round().astype(int))
    share, expected = 100 * count / len(order), np.cumsum(confidence[order])[count - 1] / count

    def draw(axes):
        axes.plot(share, 100 * expected, color=COLORS["purified"], lw=1.8, label="expected by confidence")
        if right is not None:
            hits = np.cumsum(right[order])[count - 1]
            lower, upper = intervals.wilson(hits, count)
            axes.plot(share, 100 * hits / count, color=COLORS["true"], lw=1.8, label="by the true labels")
            axes.fill_between(share, 100 * lower, 100 * upper, color=COLORS["true"], alpha=0.2, lw=0)
        axes.set(
            xlabel="rows taken, the most confident first, %",
            ylabel="purified labels that are right, %",
            title="Coverage and accuracy",
        )
        if right is not None:
            # The limits ignore the band of the first few rows, which is wide and would flatten the curves.
            settled = count >= min(50, len(order))
            axes.set_ylim(100 * min(lower[settled].min(), expected.min()) - 1, 101)
        svg.legend(axes)

    return svg.draw(draw)


def reliability(bins: Bins, source: str) -> str:
    """Reliability diagram: share of right labels against confidence, with 95 % Wilson intervals.

    Args:
        bins: the rows.
        source: name of the set of rows, for the title.
    """

    def draw(axes):
        ends = 100 * np.maximum([bins.accuracy - bins.lower, bins.upper - bins.accuracy], 0)
        lowest = 100 * min(bins.lower.min(), bins.confidence.min())
        axes.plot([lowest, 100], [lowest, 100], ls="--", lw=1, color=COLORS["true"], label="calibrated")
        axes.errorbar(
            100 * bins.confidence,
            100 * bins.accuracy,
            ends,
            fmt="o",
            ms=4,
            color=COLORS["purified"],
            label="purified labels",
        )
        axes.set(
            xlabel="confidence, %",
            ylabel="labels that are right, %",
            title=f"Reliability, {source}\n(expected calibration error {calibration_error(bins):.1%})",
        )
        svg.legend(axes)

    return svg.draw(draw)


def equal_bins(confidence: np.ndarray, right: np.ndarray, number: int = 10) -> Bins:
    """`number` bins of (nearly) equal numbers of rows; fewer bins where there are fewer rows.

    Args:
        confidence: [n].
        right: whether each label is right [n].
        number: number of bins.
    """
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, number) if len(part)]
    count = np.array([len(part) for part in parts])
    hits = np.array([right[part].sum() for part in parts])
    lower, upper = intervals.wilson(hits, count)
    means = np.array([confidence[part].mean(dtype=np.float64) for part in parts])
    return Bins(means, hits / count, lower, upper, count)


def stored_bins(sums: dict[str, np.ndarray]) -> Bins:
    """Bins from `PurifyResult.reliability`, without those whose weight is less than half a row.

    Args:
        sums: 'rows', 'confidence' and 'right', [b].
    """
    filled = sums["rows"] >= 0.5
    count, confidence, right = (
        np.asarray(sums[name], np.float64)[filled] for name in ("rows", "confidence", "right")
    )
    lower, upper = intervals.wilson(right, count)
    return Bins(confidence / count, right / count, lower, upper, count)


def calibration_error(bins: Bins) -> float:
    """Expected calibration error: mean distance of accuracy from confidence, by rows (Naeini et al. 2015)."""
    return float(np.average(np.abs(bins.accuracy - bins.confidence), weights=bins.size))
