"""Writes report.html, one self-contained page that loads nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from ml_collections import ConfigDict

from dmlp_jax.data.types import Problem
from dmlp_jax.report import (
    confidence_figures,
    contents,
    feature_map,
    findings,
    headline,
    label_figures,
    label_tables,
    review,
)
from dmlp_jax.report.names import encodable
from dmlp_jax.storage import files

# In the order of the page.
_SCRIPTS = ("decisions.js", "filters.js", "row_list.js", "review.js")


def write(
    path: Path,
    result: dict[str, Any],
    config: ConfigDict,
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    curves: dict[str, list[float]],
    *,
    features: Any = None,
    row_index: np.ndarray | None = None,
    row_names: Sequence[Any] | None = None,
    image_of: Callable[[int], np.ndarray | None] | None = None,
) -> None:
    """Writes the page.

    Args:
        path: report.html.
        result: the contents of summary.json.
        config: the whole configuration.
        problem: the rows.
        purified: the arrays of purified.npz.
        purifier: the arrays of purifier.npz.
        curves: test accuracy per epoch of each retrained network, may be empty.
        features: of the training rows [n, d], for the map; by default the rows themselves, where they are
            features.
        row_index: number of each training row in the user's data [n]; 0 to n - 1 by default.
        row_names: name of each training row on the page [n]; its number by default.
        image_of: the picture of a training row, [h, w, channels] uint8 or None where there is none; by
            default the row itself, where it is an image.

    Raises:
        UserError: the method `report.map` is unknown or not installed.
    """
    problem = problem._replace(class_names=tuple(map(encodable, problem.class_names)))
    if features is None and len(problem.train_inputs.shape) == 2:
        features = problem.train_inputs
    if row_index is None:
        row_index = np.arange(len(problem.given_labels))
    if image_of is None and len(problem.train_inputs.shape) == 4:
        image_of = problem.train_inputs.__getitem__
    names = row_index.tolist() if row_names is None else list(map(encodable, row_names))
    order = review.suspicious_rows(contents.label_quality(purified, problem.given_labels))
    gallery = min(config.report.gallery, review.GALLERY, len(order))
    order, random = review.with_random_rows(order, len(problem.given_labels))
    pictured = np.append(np.arange(gallery), random[random >= gallery] if gallery else random[:0])
    shown = review.suspects(problem, purified, order, pictured, names, image_of or (lambda row: None))
    script = Markup("\n".join(_part(name) for name in _SCRIPTS))
    page = _environment().get_template("template.html").render(
        result=result,
        headline=headline.trust(result),
        verdict=findings,
        steps=len(purifier.get("history/changed", ())),
        rows=label_tables.sources(result),
        flows=label_tables.flows(problem.given_labels, purified["labels"], problem.class_names),
        figures=list(map(Markup, _figures(result, problem, purified, purifier, curves))),
        confidence_figures=list(map(Markup, _confidence_figures(result, problem, purified, purifier))),
        map=_map(features, purified, config),
        suspects=shown[:gallery],
        samples=shown[gallery:],
        sampled=len(random),
        review=htmlsafe_json_dumps(
            review.payload(problem, purified, order, random, row_index, None if row_names is None else names),
            separators=(",", ":"),
        ),
        listed=len(order),
        changed_rows=int(purified["changed"][order].sum()),
        applies="arguments" in config,
        style=Markup(_part("style.css")),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        config=json.dumps(config.to_dict(), indent=2),
    )  # fmt: skip
    files.save_text(path, encodable(page))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dmlp_jax.report", "."),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    return environment


def _part(name: str) -> str:
    """Text of a file that is embedded in the page."""
    return resources.files("dmlp_jax.report").joinpath("static", name).read_text(encoding="utf-8")


def _figures(
    result: dict[str, Any],
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    curves: dict[str, list[float]],
) -> list[str]:
    history = {
        name.removeprefix("history/"): values
        for name, values in purifier.items()
        if name.startswith("history/")
    }
    names, true = problem.class_names, problem.true_labels
    drawn = []
    if true is not None and "labels" in history:
        accuracy = np.mean(history["labels"] == true, axis=1)
        baselines = {name: value for name, value in result["labels"].items() if name != "purified"}
        drawn.append(label_figures.label_accuracy(accuracy, baselines, findings.step(result)))
    if history:
        drawn.append(label_figures.course(history, findings.step(result)))
    drawn.append(label_figures.confusion(problem.given_labels, purified["labels"], names))
    rates = None
    if true is not None:
        wrong = problem.given_labels != true
        rates = np.array(
            [wrong[true == label].mean() if np.any(true == label) else np.nan for label in range(len(names))]
        )
    if "transition" in purifier:
        class_rows = np.bincount(purified["labels"], minlength=len(names))
        drawn.append(label_figures.class_noise(purifier["transition"], names, rates, class_rows))
    if curves:
        drawn.append(label_figures.test_accuracy(curves))
    return drawn


def _confidence_figures(
    result: dict[str, Any],
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
) -> list[str]:
    if result.get("first_look"):
        # Scores without clean rows are no probabilities.
        return []
    confidence, true = purified["confidence"], problem.true_labels
    right = None if true is None else purified["labels"] == true
    drawn = [
        confidence_figures.histogram(confidence, purified["changed"]),
        confidence_figures.coverage(confidence, right),
    ]
    prefix = "reliability/"
    sums = {name[len(prefix) :]: values for name, values in purifier.items() if name.startswith(prefix)}
    # The paper preset holds no clean rows out.
    if sums and np.any(sums["rows"] >= 0.5):
        held_out = confidence_figures.stored_bins(sums)
        drawn.append(confidence_figures.reliability(held_out, "held-out clean rows"))
    if right is not None:
        by_truth = confidence_figures.equal_bins(confidence, right)
        drawn.append(confidence_figures.reliability(by_truth, "all rows, by the true labels"))
    return drawn


def _map(features: Any, purified: dict[str, np.ndarray], config: ConfigDict) -> Markup | None:
    method = config.report.get("map", "pca")
    if features is None or method == "none":
        return None
    return Markup(feature_map.draw(features, purified["changed"], method))
