"""report.html: one self-contained page, nothing loaded from elsewhere."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from ml_collections import ConfigDict
from PIL import Image

from dmlp_jax import files
from dmlp_jax.data.types import Problem
from dmlp_jax.report import figures


def write(
    path: Path,
    result: dict[str, Any],
    config: ConfigDict,
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    curves: dict[str, list[float]],
    *,
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
        row_names: what the page calls each training row [n]; its number by default.
        image_of: the picture of a training row, [h, w, channels] uint8 or None where there is none; by
            default the row itself, where it is an image.
    """
    environment = Environment(
        loader=PackageLoader("dmlp_jax.report", "."),
        autoescape=select_autoescape(),
        trim_blocks=True,
    )
    problem = problem._replace(class_names=tuple(map(printable, problem.class_names)))
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    history = {
        name.removeprefix("history/"): values
        for name, values in purifier.items()
        if name.startswith("history/")
    }
    page = environment.get_template("template.html").render(
        result=result,
        verdict=verdict(result),
        rows=table_rows(result),
        figures=[Markup(svg) for svg in _figures(result, problem, purified, purifier, history, curves)],
        suspects=_suspects(problem, purified, config.report.gallery, row_names, image_of),
        config=json.dumps(config.to_dict(), indent=2),
    )
    files.save_text(path, page)


def printable(name: str, longest: int = 40) -> str:
    """A name as the page shows it: without control characters and bytes that were no text, cut at the end."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def verdict(result: dict[str, Any]) -> str:
    """What came out, in a sentence: by the truth where it is known, else by held-out clean rows."""
    known = result["labels"]["purified"] is not None
    values = result["labels"] if known else result["held_out"]
    probes = {name: value for name, value in values.items() if name.endswith("probe") and value is not None}
    best = max(probes, key=probes.get)
    own = values["purified"]
    changed = f"The purifier changed {result['changed']:.1%} of the {result['rows']['train']:,} labels."
    if own is None:
        return f"{changed} The {result['preset']} preset holds no clean rows out, so its gain cannot be told."
    where = "of the labels are right now" if known else "of held-out clean rows are classified rightly"
    compared = "more than" if own > probes[best] else "as much as" if own == probes[best] else "less than"
    before = f", {values['given']:.1%} were before" if known else ""
    return (
        f"{changed} {own:.1%} {where}{before}; that is {compared} the best trivial baseline reaches "
        f"({best.replace('_', ' ')}, {probes[best]:.1%})."
    )


def table_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The summary's table: one row per source of labels."""
    names = [*result["labels"], *result["test"]]
    names = [name for name in dict.fromkeys(names) if name != "true"]
    names += ["true"] if "true" in result["test"] else []
    known = result["noise"]["measured_flip_rate"] is not None
    return [
        {
            "name": name.replace("_", " "),
            "labels": 1.0 if name == "true" and known else result["labels"].get(name),
            "held_out": result["held_out"].get(name),
            **{key: result["test"].get(name, {}).get(key) for key in ("best", "last", "selected")},
        }
        for name in names
    ]


def _figures(
    result: dict[str, Any],
    problem: Problem,
    purified: dict[str, np.ndarray],
    purifier: dict[str, np.ndarray],
    history: dict[str, np.ndarray],
    curves: dict[str, list[float]],
) -> list[str]:
    names, true = problem.class_names, problem.true_labels
    drawn = []
    if true is not None and "labels" in history:
        accuracy = np.mean(history["labels"] == true, axis=1)
        baselines = {name: value for name, value in result["labels"].items() if name != "purified"}
        drawn.append(figures.label_accuracy(accuracy, baselines))
    drawn.append(figures.course(history))
    drawn.append(figures.confusion(problem.given_labels, purified["labels"], names))
    rates = None
    if true is not None:
        wrong = problem.given_labels != true
        rates = np.array(
            [wrong[true == label].mean() if np.any(true == label) else np.nan for label in range(len(names))]
        )
    drawn.append(figures.class_noise(purifier["transition"], names, rates))
    if curves:
        drawn.append(figures.test_accuracy(curves))
    return drawn


def _suspects(
    problem: Problem,
    purified: dict[str, np.ndarray],
    count: int,
    row_names: Sequence[Any] | None = None,
    image_of: Callable[[int], np.ndarray | None] | None = None,
) -> list[dict[str, Any]]:
    """The changed rows of highest confidence, as the template shows them."""
    rows = np.flatnonzero(purified["changed"])
    order = rows[np.argsort(-purified["confidence"][rows], kind="stable")][:count]
    names, true = problem.class_names, problem.true_labels
    return [
        {
            "row": int(row) if row_names is None else row_names[row],
            "image": _image(problem.train_inputs[row] if image_of is None else image_of(row)),
            "given": names[problem.given_labels[row]],
            "purified": names[purified["labels"][row]],
            "confidence": float(purified["confidence"][row]),
            "true": None if true is None else names[true[row]],
            "right": None if true is None else bool(true[row] == purified["labels"][row]),
        }
        for row in order
    ]


def _image(pixels: np.ndarray | None) -> str | None:
    """An image [h, w, 1 or 3], uint8, as a data URI; None for features."""
    if pixels is None or pixels.ndim != 3:
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
