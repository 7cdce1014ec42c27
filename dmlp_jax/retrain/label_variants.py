"""Builds one training set per source of labels, all with the same clean images, for comparison."""

import numpy as np

from dmlp_jax.data.images import lazy
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import TrainingSet

SOURCES = (
    "given",
    "val_only_probe",
    "noisy_probe",
    "noisy_plus_val_probe",
    "purified",
    "true",
)
# The only source for semi-supervised methods: the clean rows are labelled, all other rows are not.
CLEAN = "clean"
# `corrected_mlc`: the given labels as corrected by the method mlc in an earlier run on this workdir.
CORRECTED = "corrected_"


def parse(labels: str) -> list[str]:
    """The sources in `retrain.labels`, comma-separated.

    Raises:
        UserError: an unknown source, or none.
    """
    names = [name.strip() for name in labels.split(",") if name.strip()]
    for name in names or [""]:
        if name not in SOURCES and not name.startswith(CORRECTED):
            raise UserError(
                f"retrain.labels holds {name!r}, which is none of {', '.join(SOURCES)}, {CORRECTED}<method>"
            )
    return list(dict.fromkeys(names))


def unlabelled(rows: int, num_classes: int) -> np.ndarray:
    """Uniform label distributions, [rows, num_classes] float32, for rows that count as unlabelled."""
    return np.full((rows, num_classes), 1.0 / num_classes, np.float32)


def split_clean(labels: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits the clean rows into rows to train on and rows held out to pick the epoch.

    Args:
        labels: labels of the clean rows [m].
        share: share of each class that is held out, in [0, 1); at least one row of each class with two or
            more rows, none for 0.
        rng: the source of randomness.

    Returns:
        Indices into `labels`: rows to train on, and rows held out; both ascending.

    Raises:
        UserError: `share` is out of range.
    """
    if not 0 <= share < 1:
        raise UserError(f"retrain.select_share is {share}; it must lie in [0, 1)")
    kept_out = []
    for label in np.unique(labels) if share else []:
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            kept_out.append(rng.choice(members, max(1, round(share * len(members))), replace=False))
    select = np.sort(np.concatenate(kept_out)) if kept_out else np.zeros(0, int)
    return np.setdiff1d(np.arange(len(labels)), select), select


def training_set(
    problem: Problem,
    labels: np.ndarray,
    clean_rows: np.ndarray,
    num_classes: int,
    noise_rate: float | None,
) -> TrainingSet:
    """Joins the noisy rows under one source of labels with the clean rows, which come last.

    Args:
        problem: the rows.
        labels: labels of the noisy rows, class indices [n] or distributions [n, c].
        clean_rows: indices [k] of the clean rows that join.
        num_classes: c.
        noise_rate: share of wrong labels among the noisy rows; None where unknown.
    """
    identity = np.eye(num_classes, dtype=np.float32)
    targets = identity[labels] if labels.ndim == 1 else labels.astype(np.float32)
    rows = len(targets)
    return TrainingSet(
        lazy.concatenate([problem.train_inputs, lazy.take(problem.val_inputs, clean_rows)]),
        np.concatenate([targets, identity[problem.val_labels[clean_rows]]]),
        None if noise_rate is None else noise_rate * rows / (rows + len(clean_rows)),
        len(clean_rows),
    )
