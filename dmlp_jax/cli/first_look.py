"""What `dmlp-purify` does without clean rows: ranks the labels, keeps them, and says how to go on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmlp_jax.cli import first_ranking
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows


class FirstLook(NamedTuple):
    """Results without clean rows, under the names of `PurifyResult`; arrays [n].

    Attributes:
        labels: the given class indices, which are kept.
        probs: scores of the classes [n, c], not calibrated; see `first_ranking.Ranking`.
        confidence: NaN, because nothing says how likely a label is right.
        changed: False.
        label_quality: a ranking: low where the given label is suspicious.
    """

    labels: np.ndarray
    probs: np.ndarray
    confidence: np.ndarray
    changed: np.ndarray
    label_quality: np.ndarray


def look(rows: LabelledRows) -> FirstLook:
    """Ranks the noisy rows; reviewed rows help with the labels that the review gave them."""
    features, labels = rows.features, rows.labels
    if len(rows.val_labels):
        features = np.concatenate([np.asarray(features[:]), rows.val_features])
        labels = np.concatenate([labels, rows.val_labels])
    found = first_ranking.rank(features, labels, len(rows.class_names))
    count = len(rows.labels)
    return FirstLook(
        labels=rows.labels,
        probs=found.probs[:count],
        confidence=np.full(count, np.nan, np.float32),
        changed=np.zeros(count, bool),
        label_quality=found.quality[:count],
    )


def is_needed(rows: LabelledRows) -> bool:
    """Whether labels cannot be purified: one label a row, and some class has no clean row."""
    return rows.votes is None and lacks_class(rows)


def lacks_class(rows: LabelledRows) -> bool:
    """Whether some class has no clean row."""
    return len(np.unique(rows.val_labels)) < len(rows.class_names)


def next_step(rows: LabelledRows, out: Path) -> str:
    """How to go on, in sentences."""
    text = (
        f"Open {out / 'report.html'}, review its rows from the top, export decisions.csv, and repeat the "
        "command with --apply decisions.csv and another --out (or --overwrite): the reviewed rows become the "
        "clean rows that labels are purified with"
    )
    absent = np.setdiff1d(np.arange(len(rows.class_names)), rows.val_labels)
    if len(rows.val_labels):
        shown = ", ".join(repr(rows.class_names[label]) for label in absent[:8])
        return (
            f"The reviewed rows have none of class {shown}{', ...' if absent.size > 8 else ''}, so no label "
            f"was changed yet: review at least one row of each. {text}"
        )
    return f"{text}, once every class has one"


def proposals(found: FirstLook) -> dict[str, np.ndarray]:
    """The arrays that the review page reads: beside each given label, the class that other rows speak for."""
    labels = found.probs.argmax(axis=1).astype(np.int32)
    return {
        "labels": labels,
        "probs": found.probs,
        "confidence": found.probs.max(axis=1),
        "changed": labels != found.labels,
        "label_quality": found.label_quality,
    }
