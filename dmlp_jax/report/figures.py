"""Chooses the figures of the report, and puts with each the text that says what it shows."""

from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from dmlp_jax.data.types import Problem
from dmlp_jax.report import (
    confidence_figures,
    feature_map,
    figure_texts,
    findings,
    label_figures,
)


class Figure(NamedTuple):
    """A figure, and the text that says what it shows."""

    svg: Markup
    text: str


def of_labels(
    result: dict[str, Any],
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    curves: dict[str, list[float]],
) -> list[Figure]:
    """The figures of how labels changed; the arguments are those of `page.write`."""
    history = {
        name.removeprefix("history/"): values
        for name, values in purifier.items()
        if name.startswith("history/")
    }
    names, true, taken = problem.class_names, problem.true_labels, findings.step(result)
    drawn = []
    if true is not None and "labels" in history:
        accuracy = np.mean(history["labels"] == true, axis=1)
        baselines = {name: value for name, value in result["labels"].items() if name != "purified"}
        drawn.append(
            _figure(
                label_figures.label_accuracy(accuracy, baselines, taken),
                figure_texts.label_accuracy(accuracy, baselines, taken),
            )
        )
    if history:
        drawn.append(_figure(label_figures.course(history, taken), figure_texts.course(history, taken)))
    rates = None
    if true is not None:
        wrong = problem.given_labels != true
        rates = np.array(
            [wrong[true == label].mean() if np.any(true == label) else np.nan for label in range(len(names))]
        )
    # A run without clean rows estimates no noise.
    if "transition" in purifier:
        class_rows = np.bincount(purified["labels"], minlength=len(names))
        transition = purifier["transition"]
        drawn.append(
            _figure(
                label_figures.class_noise(transition, names, rates, class_rows),
                figure_texts.class_noise(transition, names),
            )
        )
    if curves:
        drawn.append(_figure(label_figures.test_accuracy(curves), figure_texts.test_accuracy(curves)))
    return drawn


def of_pairs(problem: Problem, purified: dict[str, np.ndarray]) -> Figure:
    """The figure of confused classes, for more of them than a table takes."""
    pairs = problem.given_labels, purified["labels"], problem.class_names
    return _figure(label_figures.confusion(*pairs), figure_texts.confusion(*pairs))


def of_confidence(
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    features: Any,
    method: str,
) -> list[Figure]:
    """The figures of confidence and its calibration, and the map of the features.

    Args:
        problem: the rows.
        purified: the arrays of purified.npz.
        purifier: the arrays of purifier.npz; none of a run without clean rows, whose scores are no
            probabilities: there is no figure of them.
        features: of the training rows [n, d], or None.
        method: of the map, see `projection.embed`; 'none' draws none.
    """
    drawn = _of_scores(problem, purified, purifier) if purifier else []
    if features is not None and method != "none":
        changed = purified["changed"]
        drawn.append(
            _figure(
                feature_map.draw(features, changed, method),
                figure_texts.feature_map(changed, feature_map.LIMIT),
            )
        )
    return drawn


def _of_scores(
    problem: Problem, purified: dict[str, np.ndarray], purifier: dict[str, np.ndarray]
) -> list[Figure]:
    confidence, changed, true = purified["confidence"], purified["changed"], problem.true_labels
    right = None if true is None else purified["labels"] == true
    drawn = [
        _figure(
            confidence_figures.histogram(confidence, changed), figure_texts.histogram(confidence, changed)
        ),
        _figure(confidence_figures.coverage(confidence, right), figure_texts.coverage(confidence, right)),
    ]
    prefix = "reliability/"
    sums = {name[len(prefix) :]: values for name, values in purifier.items() if name.startswith(prefix)}
    # The paper preset holds no clean rows out.
    if sums and np.any(sums["rows"] >= 0.5):
        drawn.append(_reliability(confidence_figures.stored_bins(sums), "held-out clean rows"))
    if right is not None:
        by_truth = confidence_figures.equal_bins(confidence, right)
        drawn.append(_reliability(by_truth, "all rows, by the true labels"))
    return drawn


def _reliability(bins: confidence_figures.Bins, source: str) -> Figure:
    return _figure(confidence_figures.reliability(bins, source), figure_texts.reliability(bins, source))


def _figure(svg: str, text: str) -> Figure:
    return Figure(Markup(svg), text)
