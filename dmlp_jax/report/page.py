"""Writes report.html, one self-contained page that loads nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
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
    confusion_table,
    contents,
    figures,
    findings,
    headline,
    label_tables,
    overview,
    review,
    row_contents,
)
from dmlp_jax.report.clean_rows import CleanRows
from dmlp_jax.report.names import encodable
from dmlp_jax.storage import files

# In the order of the page.
_SCRIPTS = (
    "decisions.js",
    "export.js",
    "class_keys.js",
    "filters.js",
    "row_data.js",
    "row_view.js",
    "row_list.js",
    "range_bar.js",
    "grid.js",
    "batch.js",
    "label_buttons.js",
    "zoom.js",
    "keyboard.js",
    "review.js",
    "start.js",
)
# Rows on the first screen, and those that readers without scripts see.
_FIRST, _PLAIN = 4, 24
# Bytes of pictures and texts, unless the setting `report.megabytes` says otherwise.
MEGABYTES = 20


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
    columns: Mapping[str, Sequence[Any]] | None = None,
    clean: CleanRows | None = None,
    rerun: str | None = None,
    decisions_name: str = "decisions.csv",
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
        features: of the training rows [n, d], for the map and the evidence; by default the rows themselves,
            where they are features.
        row_index: number of each training row in the user's data [n]; 0 to n - 1 by default.
        row_names: name of each training row on the page [n]; its number by default.
        image_of: the picture of a training row, [h, w, channels] uint8 or None where there is none; by
            default the row itself, where it is an image.
        columns: by name, the values [n] of columns that the page shows beside a row, texts above all.
        clean: the clean rows, shown as evidence; by default those of `problem`, where these are features.
        rerun: the command that takes the exported decisions up, for the reader to copy.
        decisions_name: the name of the file of decisions that the page exports.

    Raises:
        UserError: the method `report.map` is unknown or not installed.
    """
    problem = problem._replace(class_names=tuple(map(encodable, problem.class_names)))
    if features is None and len(problem.train_inputs.shape) == 2:
        features = problem.train_inputs
    if clean is None and len(problem.val_inputs.shape) == 2:
        clean = CleanRows(problem.val_inputs)
    if row_index is None:
        row_index = np.arange(len(problem.given_labels))
    if image_of is None and len(problem.train_inputs.shape) == 4:
        image_of = problem.train_inputs.__getitem__
    names = row_index.tolist() if row_names is None else list(map(encodable, row_names))
    order = review.suspicious_rows(contents.label_quality(purified, problem.given_labels))
    gallery = min(config.report.gallery, len(order))
    order, random = review.with_random_rows(order, len(problem.given_labels))
    pictured = np.append(np.arange(gallery), random[random >= gallery] if gallery else random[:0])
    held = row_contents.collect(
        order,
        pictured,
        image_of,
        columns or {},
        features,
        clean,
        round(1e6 * config.report.get("megabytes", MEGABYTES)),
    )
    table = confusion_table.cells(problem.given_labels, purified["labels"], order, problem.class_names)
    script = Markup("\n".join(_part(name) for name in _SCRIPTS))
    first_look = bool(result.get("first_look"))
    page = _environment().get_template("template.html").render(
        result=result,
        certainty="score" if first_look else "confidence",
        facts=overview.facts(result),
        headline=headline.trust(result),
        verdict=findings,
        steps=len(purifier.get("history/changed", ())),
        rows=label_tables.sources(result),
        flows=label_tables.flows(
            problem.given_labels, purified["labels"], problem.class_names, 10 if table else 50
        ),
        figures=figures.of_labels(result, problem, purified, purifier, curves),
        confidence_figures=figures.of_confidence(
            problem, purified, purifier, features, config.report.get("map", "pca")
        ),
        confusion=table,
        heatmap=figures.of_pairs(problem, purified) if table is None else None,
        suspects=review.suspects(problem, purified, order, names, held, _PLAIN),
        first=_FIRST,
        sampled=len(random),
        review=htmlsafe_json_dumps(
            review.payload(
                problem,
                purified,
                order,
                random,
                row_index,
                None if row_names is None else names,
                held,
                clean,
                calibrated=not first_look,
            ),
            separators=(",", ":"),
        ),
        values=Markup("\n".join(map(_harmless, held.values))) if held.columns else "",
        pictures=Markup("\n".join(held.pictures)) if any(held.pictures) else "",
        columns=held.columns,
        texts_held=held.held_texts(len(order)),
        pictures_held=held.held_pictures(len(order)),
        classes=len(problem.class_names),
        listed=len(order),
        changed_rows=int(purified["changed"][order].sum()),
        applies="arguments" in config,
        rerun=rerun,
        decisions_name=decisions_name,
        style=Markup(_part("style.css") + _part("review.css")),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        config=json.dumps(config.to_dict(), indent=2),
    )  # fmt: skip
    files.save_text(path, encodable(page))


def _harmless(line: str) -> str:
    """JSON in which nothing can end or open an element of the page."""
    return line.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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
