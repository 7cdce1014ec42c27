"""Saves the purifier's results, and makes the contents of summary.json and the printed table."""

import math
from typing import Any, SupportsFloat

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import datasets
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.interop import issues
from dmlp_jax.pipeline import corrected_labels
from dmlp_jax.pipeline.label_sources import LABEL_SOURCES, flip_rate, labels_of
from dmlp_jax.pipeline.provenance import provenance
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.purifier import SOURCES, PurifyResult, warnings
from dmlp_jax.report import accuracies
from dmlp_jax.report import contents as report_contents
from dmlp_jax.retrain import label_variants
from dmlp_jax.storage import files
from dmlp_jax.training.metrics import MetricsLog

# Under a table, where an accuracy is a model's expectation.
EXPECTED = "an assumption, not a count: that given labels are as wrong as the purifier estimates"


def save_purified(
    workdir: Workdir,
    result: PurifyResult,
    problem: Problem,
    index: np.ndarray,
    names: np.ndarray | None = None,
) -> None:
    """Writes purifier.npz and purified.npz, see `report/contents.py`, and issues.csv, as `dmlp-purify` does.

    Args:
        workdir: the run's folder.
        result: result of `purify`, as NumPy arrays.
        problem: the rows.
        index: number of each training row in the data set [n].
        names: name of each training row [n], such as its image file; or None.
    """
    classes = {"class_names": np.array(problem.class_names)}
    found = issues(result, problem.given_labels, problem.class_names, index=index, ids=names)
    files.save_text(workdir.issues, found.csv())
    files.save_npz(workdir.purifier, report_contents.purifier_arrays(result) | classes)
    files.save_npz(workdir.purified, report_contents.purified_arrays(result) | classes)


def log_history(log: MetricsLog, result: PurifyResult, true_labels: np.ndarray | None) -> None:
    """Logs the purifier's steps to the metrics, with label accuracy where the true labels are known."""
    log.rewind("purify", 0)
    history = {name: values for name, values in result.history.items() if name != "labels"}
    if true_labels is not None and "labels" in result.history:
        history["label_accuracy"] = np.mean(result.history["labels"] == true_labels, axis=1)
    for step in range(len(history["changed"])):
        log.write("purify", step + 1, {name: values[step] for name, values in history.items()})


def summarize(
    config: ConfigDict, workdir: Workdir, problem: Problem
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The contents of summary.json, and the test accuracy per epoch of each retrained network.

    Raises:
        UserError: the purifier has not run.
    """
    if not workdir.is_complete("purify", config):
        raise UserError(f"{workdir.purified} is missing or not finished; run the stage purify first")
    stored = report_contents.load(workdir.purifier)
    scores = {
        name: {
            key.rsplit("/", 1)[1]: finite(value)
            for key, value in stored.items()
            if key.startswith(f"scores/{name}/")
        }
        for name in LABEL_SOURCES
    }
    numbers = {
        key.removeprefix("diagnostics/"): value
        for key, value in stored.items()
        if key.startswith("diagnostics/")
    }
    own_labels = datasets.describe(config.data.name).brings_labels
    method = config.retrain.method
    results = {
        path.parent.name.removeprefix(f"{method}-"): files.load_json(path)
        for path in sorted(workdir.retrain.glob(f"{method}-*/result.json"))
    }
    stages = ("pretrain", "extract", "purify", f"retrain/{method}")
    curves = {
        name: [epoch["test_accuracy"] for epoch in result["curve"]]
        for name, result in results.items()
        if result["last"] is not None
    }
    contents = {
        "dataset": config.data.name,
        "rows": {
            "train": len(problem.given_labels),
            "val": len(problem.val_labels),
            "test": 0 if problem.test_labels is None else len(problem.test_labels),
        },
        "classes": list(problem.class_names),
        "noise": {
            "name": "given" if own_labels else config.noise.name,
            "rate": None if own_labels else config.noise.rate,
            "measured_flip_rate": flip_rate(problem),
        },
        "seed": config.seed,
        "preset": config.purify.preset,
        "labels": {
            name: None
            if problem.true_labels is None
            else float(np.mean(labels_of(name, workdir, problem, soft=False) == problem.true_labels))
            for name in (*LABEL_SOURCES, *corrected_labels.of_run(method, results, workdir))
        },
        "changed": float(np.mean(report_contents.load(workdir.purified)["changed"])),
        "held_out": {name: values["accuracy"] for name, values in scores.items()},
        "scores": scores,
        "counted": counted(numbers),
        # Absent in workdirs of earlier versions.
        "source": SOURCES[int(stored.get("chosen/source", 0))],
        "warnings": list(warnings.sentences(numbers, problem.class_names)),
        "chosen": {
            key.removeprefix("chosen/"): int(value)
            for key, value in stored.items()
            if key.startswith("chosen/")
        },
        "retrain": {
            "method": method,
            "model": config.retrain.model,
            "with_val": config.retrain.with_val,
        },
        "test": {
            name: {key: result[key] for key in ("best", "last", "selected")}
            for name, result in results.items()
        },
        "corrected": {
            f"{method}-{name}": result["label_accuracy"]
            for name, result in results.items()
            if "label_accuracy" in result
        },
        "noise_rate": {name: result["noise_rate"] for name, result in results.items()},
        "probe": workdir.details("extract").get("probe", {"linear": None, "knn": None}),
        "seconds": {
            stage.split("/")[0]: workdir.details(stage)["seconds"]
            for stage in stages
            if "seconds" in workdir.details(stage)
        },
        **provenance(),
    }
    return contents, curves


def counted(diagnostics: dict[str, Any]) -> dict[str, int]:
    """How many clean rows accuracies are counted on, see `purifier/diagnostics.py`; empty in older files."""
    names = ("random_rows", "given_random_rows", "given_known")
    return {name: int(diagnostics[name]) for name in names if name in diagnostics}


def table(result: dict[str, Any]) -> str:
    """The summary as a small table for the screen."""
    flipped = result["noise"]["measured_flip_rate"]
    lines = [
        *(f"Warning: {text}\n" for text in result.get("warnings", ())),
        f"{result['dataset']}, {result['rows']['train']:,} rows, {result['rows']['val']:,} clean ones, "
        + ("" if flipped is None else f"{flipped:.1%} of the given labels wrong, ")
        + f"purifier preset {result['preset']}",
        "",
        f"{'labels':<22}{'accuracy of':>12}{'on held-out':>18}{'test accuracy of a network':>30}",
        f"{'':<22}{'the labels':>12}{'clean rows':>18}{'trained on them (last epoch)':>30}",
    ]
    for name in dict.fromkeys([*result["labels"], *result["test"], "true"]):
        labels = 1.0 if name == "true" and flipped is not None else result["labels"].get(name)
        test = result["test"].get(name, {}).get("last")
        if name in ("true", label_variants.CLEAN) and test is None:
            continue
        cells = [_percent(labels), accuracies.cell(result, name), _percent(test)]
        lines.append(f"{name:<22}{cells[0]:>12}{cells[1]:>18}{cells[2]:>30}")
    if accuracies.is_expected(result, "purified"):
        lines += ["", f"expected: {EXPECTED}"]
    if label_variants.CLEAN in result["test"]:
        own = result["retrain"]["method"]
        lines += [
            "",
            f"clean: the labels of the clean rows only; {own} used all other rows without labels",
        ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else accuracies.percent(value)


def finite(value: SupportsFloat) -> float | None:
    """A scalar for JSON: None for NaN, which the purifier uses for unknown values."""
    number = float(value)
    return number if math.isfinite(number) else None
