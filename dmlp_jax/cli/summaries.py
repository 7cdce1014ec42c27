"""Summarizes a run of `dmlp-purify`: the contents of summary.json, and the table that is printed."""

from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.cli import risk
from dmlp_jax.cli.first_look import FirstLook
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.pipeline import label_sources, provenance, summary
from dmlp_jax.purifier import PurifyResult, warnings
from dmlp_jax.report import accuracies, findings, headline


def summarize(
    rows: LabelledRows, result: PurifyResult | FirstLook, settings: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """The contents of summary.json; the keys are those of the pipeline's, as far as they apply."""
    if isinstance(result, FirstLook):
        return _summary_of_first_look(rows, result, settings, seconds)
    scores = {
        name: {key: summary.finite(value) for key, value in result.scores[name].items()}
        for name in label_sources.LABEL_SOURCES
    }
    labels = {"given": rows.labels, **result.baselines, "purified": result.labels}
    true = rows.true_labels
    return {
        **_of_data(rows, settings),
        "noise": {
            "name": "given",
            "rate": None,
            "measured_flip_rate": None if true is None else float(np.mean(rows.labels != true)),
            "estimated_flip_rate": _estimated_flip_rate(result, settings),
        },
        "drawn": None if rows.noise_rate is None else {"noise_rate": rows.noise_rate},
        "labels": {
            name: None if true is None else float(np.mean(labels[name] == true))
            for name in label_sources.LABEL_SOURCES
        },
        "changed": float(np.mean(result.changed)),
        "held_out": {name: values["accuracy"] for name, values in scores.items()},
        "scores": scores,
        "counted": summary.counted(result.diagnostics),
        "source": result.source,
        "warnings": list(warnings.sentences(_told(rows, result), rows.class_names)),
        "chosen": {name: int(value) for name, value in result.chosen.items()},
        **_of_annotators(rows, result),
        "test": {},
        "probe": {"linear": None, "knn": None},
        "seconds": {"purify": seconds},
        "arguments": settings,
        **provenance.provenance(),
    }


def _of_annotators(rows: LabelledRows, result: PurifyResult) -> dict[str, Any]:
    """The estimated share of right labels of each annotator, by name; nothing with one label a row."""
    if result.annotator_quality is None:
        return {}
    quality = np.asarray(result.annotator_quality)
    return {"annotators": {name: float(q) for name, q in zip(rows.annotators, quality, strict=True)}}


def _summary_of_first_look(
    rows: LabelledRows, result: FirstLook, settings: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """The summary without clean rows, which claims no accuracy."""
    return {
        **_of_data(rows, settings),
        "first_look": True,
        "noise": {"name": "given", "rate": None, "measured_flip_rate": None, "estimated_flip_rate": None},
        "drawn": None,
        "labels": {},
        "changed": 0.0,
        "suspicious": int(np.sum(result.probs.argmax(axis=1) != rows.labels)),
        "held_out": {},
        "scores": {},
        "source": "given",
        "warnings": [],
        "test": {},
        "probe": {"linear": None, "knn": None},
        "seconds": {"rank": seconds},
        "arguments": settings,
        **provenance.provenance(),
    }


def _of_data(rows: LabelledRows, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of the summary about the input."""
    return {
        "dataset": Path(settings["features"]).name,
        "rows": {"train": len(rows.labels), "val": len(rows.val_labels), "test": 0},
        "classes": list(rows.class_names),
        "feature_columns": None if rows.columns is None else list(rows.columns),
        "embedding": None if rows.file is None or rows.file.raw is None else rows.file.raw.embedding,
        "seed": settings["seed"],
        "preset": settings["preset"],
    }


def _estimated_flip_rate(result: PurifyResult, settings: dict[str, Any]) -> float | None:
    """The share of given labels that are wrong by estimate; None where nothing calibrated says it."""
    if "noise_estimated" in result.diagnostics:
        return float(result.diagnostics["noise_estimated"])
    # The labels of the paper preset are not calibrated probabilities. Where all are kept, they say nothing.
    if settings["preset"] != "default" or not np.any(result.changed):
        return None
    return summary.finite(1 - result.scores["given"]["estimated_accuracy"])


def _told(rows: LabelledRows, result: PurifyResult) -> dict[str, Any]:
    """The numbers to warn of: of clean rows drawn here nothing is known, and `findings.drawn` says so."""
    drawn = rows.noise_rate is not None
    return {
        name: value for name, value in result.diagnostics.items() if not (drawn and name == "given_known")
    }


def table(contents: dict[str, Any]) -> str:
    """A printed table: held-out accuracy of each source of labels, and the number of changed labels."""
    if contents.get("first_look"):
        return "\n".join(filter(None, [headline.trust(contents), findings.beside_labels(contents)]))
    known = contents["labels"]["purified"] is not None
    lines = [f"{'labels':<22}{'right on held-out clean rows':>30}{'right, by the true labels':>27}"]
    lines[0] = lines[0] if known else lines[0][:52]
    for name in label_sources.LABEL_SOURCES:
        shown = [accuracies.cell(contents, name)]
        shown += [accuracies.percent(contents["labels"][name])] if known else []
        lines.append(f"{name:<22}{shown[0]:>30}" + "".join(f"{text:>27}" for text in shown[1:]))
    count = contents["rows"]["train"]
    lines = [*(f"Warning: {text}\n" for text in contents["warnings"]), *lines]
    lines += [
        "",
        headline.trust(contents),
        *filter(None, (findings.drawn(contents), risk.sentence(contents), findings.annotators(contents))),
        *filter(None, [findings.beside_labels(contents)]),
        f"{round(contents['changed'] * count):,} of {count:,} labels changed{_estimates(contents)}",
    ]
    return "\n".join(lines)


def _estimates(contents: dict[str, Any]) -> str:
    given = contents["noise"]["estimated_flip_rate"]
    if given is None:
        return ""
    text = f"; by the purifier's estimate {accuracies.percent(given)} of the given labels"
    if contents["changed"]:
        purified = 1 - contents["scores"]["purified"]["estimated_accuracy"]
        text += f" and {accuracies.percent(purified)} of the purified labels"
    return f"{text} are wrong"
