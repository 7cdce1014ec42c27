"""Serves --with: judges the labels of new rows by an earlier run, and may fail over too many wrong ones."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dmlp_jax.cli import purified_table
from dmlp_jax.cli.inputs import new_rows
from dmlp_jax.cli.inputs.input_files import Sources
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.errors import UserError
from dmlp_jax.interop import issues
from dmlp_jax.pipeline import provenance
from dmlp_jax.purifier import LinearClassifier, predict
from dmlp_jax.report import contents
from dmlp_jax.storage import files

# Exit status where more labels are estimated wrong than --fail-over allows.
OVER = 3


class Audit(NamedTuple):
    """The judgement of new rows, under the names of `PurifyResult`; arrays [n].

    Attributes:
        labels: the most probable class by the features and the given label.
        probs: p(true class | features, given label), [n, c].
        confidence: probability of `labels`.
        changed: whether it differs from the given label.
        label_quality: probability of the given label.
    """

    labels: np.ndarray
    probs: np.ndarray
    confidence: np.ndarray
    changed: np.ndarray
    label_quality: np.ndarray


def run(folder: Path, sources: Sources, out: Path, fail_over: float | None, settings: dict[str, Any]) -> int:
    """Judges the new rows, writes what was found and says it; returns the exit status.

    Args:
        folder: results of the earlier run.
        sources: files of the new rows; `embedder` is set to that of the run.
        out: folder for issues.csv, the user's table with new columns, and summary.json.
        fail_over: share of labels estimated wrong from which on the status is `OVER`; None for never.
        settings: the command's arguments, for summary.json.

    Raises:
        UserError: the folder holds no finished run with clean rows, or the rows do not fit it.
    """
    summary = _summary(folder)
    stored = contents.load(folder / "purifier.npz", ("transition", "classifier/kernel"))
    earlier = new_rows.earlier(summary)
    if sources.embedder is not None:
        _take_encoder(sources.embedder, earlier, folder)
    elif earlier.embedding is not None:
        raise UserError(
            f"{folder} was made from texts or images; name the column of texts with --text, or a folder of "
            "images"
        )
    rows = new_rows.load(sources, earlier, stored["classifier/kernel"].shape[0])
    found = judge(stored, rows)
    wrong = float(np.mean(1.0 - found.label_quality))
    _write(out, rows, found, wrong, settings)
    print(
        f"{len(rows.labels):,} rows; {int(found.changed.sum()):,} labels look wrong, and {100 * wrong:.1f} % "
        "of all are estimated wrong"
    )
    for path in sorted(path for path in out.iterdir() if path.name in _NAMES):
        print(path)
    if fail_over is None or wrong <= fail_over:
        return 0
    print(f"more than {100 * fail_over:g} % of the labels are estimated wrong (--fail-over)")
    return OVER


def judge(stored: dict[str, np.ndarray], rows: LabelledRows) -> Audit:
    """p(y | x, g) ~ p(y | x) T[y, g], by the classifier and the noise of an earlier run.

    Args:
        stored: the arrays of its purifier.npz.
        rows: the new rows.
    """
    names = ("kernel", "bias", "mean", "scale", "bound")
    classifier = LinearClassifier(*(jnp.asarray(stored[f"classifier/{name}"]) for name in names))
    joint = np.asarray(predict(classifier, rows.features[:]), np.float64)
    joint *= stored["transition"].T[rows.labels]
    probs = (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = probs.argmax(axis=1).astype(np.int32)
    quality = probs[np.arange(len(labels)), rows.labels]
    return Audit(labels, probs, probs.max(axis=1), labels != rows.labels, quality)


_NAMES = ("issues.csv", "purified.csv", "purified.parquet", "summary.json")


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--with: {folder} holds no finished run ({path.name} cannot be read)") from error
    if found.get("first_look"):
        raise UserError(
            f"--with: the run in {folder} had no clean rows of every class, so it fitted no classifier; "
            "review some of its rows, and repeat it with --apply"
        )
    return found


def _take_encoder(embedder: Any, earlier: new_rows.Earlier, folder: Path) -> None:
    """Sets an embedder to the fitted encoder of the earlier run."""
    if earlier.embedding is None:
        raise UserError(f"{folder} was made from features, not from texts or images; give features")
    name = earlier.embedding["encoder"]
    if embedder.encoder not in (None, name):
        raise UserError(f"--encoder {embedder.encoder}, but {folder} was made with {name}; leave it out")
    embedder.encoder, embedder.key = name, earlier.embedding["key"]
    embedder.weights = earlier.embedding.get("weights", "")
    embedder.folder = Path(earlier.embedding["folder"])
    if not embedder.folder.is_dir():
        embedder.folder = folder / "embedding"


def _write(out: Path, rows: LabelledRows, found: Audit, wrong: float, settings: dict[str, Any]) -> None:
    table = purified_table.table(rows)
    listed = issues(found, rows.labels, rows.class_names, index=rows.row_numbers, ids=rows.ids)
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files.save_text(out / "issues.csv", listed.csv())
    name = "purified.parquet" if table.is_parquet else "purified.csv"
    table.write(out / name, purified_table.columns(rows, found))
    files.save_json(
        out / "summary.json",
        {
            "rows": {"new": len(rows.labels)},
            "classes": list(rows.class_names),
            "suspicious": int(found.changed.sum()),
            "estimated_wrong": wrong,
            "arguments": settings,
            **provenance.provenance(),
        },
    )
