"""Says what each figure of the report shows, for its caption and for people who cannot see it."""

import numpy as np

from dmlp_jax.report.accuracies import percent
from dmlp_jax.report.confidence_figures import Bins, calibration_error
from dmlp_jax.report.names import of_source, printable

# Classes that are named in a caption.
_NAMED = 3


def label_accuracy(accuracy: np.ndarray, baselines: dict[str, float], taken: int | None) -> str:
    """Of `label_figures.label_accuracy`; the arguments are those of the figure."""
    name, best = max(baselines.items(), key=lambda entry: entry[1])
    text = (
        f"Share of right labels over the purifier's {len(accuracy)} steps, by the true labels: "
        f"{percent(accuracy[0])} after the first, {percent(accuracy[-1])} after the last. "
        f"The best of the other labels ({of_source(name)}) has {percent(best)}."
    )
    return text if taken is None else f"{text} The labels are from step {taken}."


def course(history: dict[str, np.ndarray], taken: int | None) -> str:
    """Of `label_figures.course`."""
    moved = history["changed"]
    held = history.get("held_out_loss", history.get("val_loss"))
    text = f"Over {len(moved)} steps the purifier moved {percent(moved[-1])} of the labels' probability"
    if held is not None:
        text += f", and the loss on clean rows went from {held[0]:.2f} to {held[-1]:.2f} nats"
    return f"{text}." if taken is None else f"{text}. The dotted line is step {taken}, which was taken."


def confusion(given: np.ndarray, purified: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Of `label_figures.confusion`."""
    pairs, counts = np.unique(np.stack([given, purified], 1)[given != purified], axis=0, return_counts=True)
    if not len(pairs):
        return "Given labels of each purified class. No label was changed."
    most = np.argsort(-counts, kind="stable")[:_NAMED]
    shown = "; ".join(
        f"{printable(class_names[pairs[place, 0]])} to {printable(class_names[pairs[place, 1]])}, "
        f"{counts[place]:,} rows"
        for place in most
    )
    return f"Given labels of each purified class. The most frequent changes: {shown}."


def class_noise(transition: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Of `label_figures.class_noise`."""
    rates = 1 - np.diag(transition)
    most = np.argsort(-rates, kind="stable")[:_NAMED]
    shown = ", ".join(f"{printable(class_names[label])} ({percent(rates[label])})" for label in most)
    return f"Estimated share of wrong given labels in each class. The most are wrong in {shown}."


def test_accuracy(curves: dict[str, list[float]]) -> str:
    """Of `label_figures.test_accuracy`."""
    shown = ", ".join(f"{of_source(name)} {percent(values[-1])}" for name, values in curves.items())
    return (
        f"Test accuracy of networks over their epochs, by the labels they learned from; at the end {shown}."
    )


def histogram(confidence: np.ndarray, changed: np.ndarray) -> str:
    """Of `confidence_figures.histogram`."""
    text = f"How sure the purified labels are: half of all rows have at least {percent(_half(confidence))}"
    if not changed.any():
        return f"{text}. No label was changed."
    least = percent(_half(confidence[changed]))
    return f"{text}, half of the {int(changed.sum()):,} changed ones at least {least}."


def _half(values: np.ndarray) -> float:
    return float(np.median(values))


def coverage(confidence: np.ndarray, right: np.ndarray | None) -> str:
    """Of `confidence_figures.coverage`."""
    order = np.argsort(-confidence, kind="stable")
    half = order[: max(len(order) // 2, 1)]
    text = (
        "Expected share of right labels where only the surest rows are kept: "
        f"{percent(confidence[half].mean())} of the surer half, {percent(confidence.mean())} of all."
    )
    if right is None:
        return text
    return f"{text} By the true labels {percent(right[half].mean())} and {percent(right.mean())} are right."


def reliability(bins: Bins, source: str) -> str:
    """Of `confidence_figures.reliability`."""
    worst = int(np.argmax(np.abs(bins.accuracy - bins.confidence)))
    return (
        f"Share of right labels at each confidence, {source}. On average the two differ by "
        f"{percent(calibration_error(bins))}, the most at {percent(bins.confidence[worst])} confidence, "
        f"where {percent(bins.accuracy[worst])} are right."
    )


def feature_map(changed: np.ndarray, rows: int) -> str:
    """Of `feature_map.draw`, which draws `rows` rows at most."""
    shown = f"{min(rows, len(changed)):,} of {len(changed):,} rows" if rows < len(changed) else "All rows"
    return (
        f"{shown} by their features in two dimensions; the {percent(changed.mean())} whose label changed are "
        "red. Red points in the middle of a cluster are mostly mistakes, between clusters they may be hard "
        "rows."
    )
