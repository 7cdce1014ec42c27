"""Loads labels of the training rows by source: given, purified, a probe's, corrected by a method, or true."""

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import corrected_labels
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.purifier import PROBES
from dmlp_jax.report import contents
from dmlp_jax.retrain import label_variants, noise_rate
from dmlp_jax.storage import files

LABEL_SOURCES = ("given", *PROBES, "purified")


def labels_of(source: str, workdir: Workdir, problem: Problem, *, soft: bool) -> np.ndarray | None:
    """Labels of the training rows by `source`, indices [n] or distributions [n, c]; None where unknown.

    Args:
        source: one of `label_variants.SOURCES`, or 'corrected_' and a method.
        workdir: the run's folder, with the purifier's artefacts.
        problem: the rows.
        soft: whether purified or corrected labels are returned as distributions.

    Raises:
        UserError: the method has not run on the given labels, or does not correct labels.
    """
    if source.startswith(label_variants.CORRECTED):
        method, path = (
            source.removeprefix(label_variants.CORRECTED),
            corrected_labels.path_of(source, workdir),
        )
        if not path.exists():
            raise UserError(
                f"retrain.labels holds {source!r}, but {path} does not exist; first run the method that "
                f"corrects labels, --config.retrain.method={method} --config.retrain.labels=given"
            )
        return files.load_npz(path, ("probs", "labels"))["probs" if soft else "labels"]
    if source == "given":
        return problem.given_labels
    if source == "true":
        return problem.true_labels
    if source == "purified":
        return contents.load(workdir.purified, ("probs", "labels"))["probs" if soft else "labels"]
    return contents.load(workdir.purifier)[f"baselines/{source}"]


def noise_rate_of(source: str, workdir: Workdir, problem: Problem, config: ConfigDict) -> float | None:
    """The estimated share of wrong labels of a source; see `retrain.noise_rate`.

    For labels corrected by a method the estimate is that of given labels: by the purified distributions.
    """
    mended = source.startswith(label_variants.CORRECTED)
    given = labels_of(source if mended else "given", workdir, problem, soft=False)
    assert given is not None  # Only true labels can be unknown.
    scores = contents.load(workdir.purifier)
    return noise_rate.estimate(
        "given" if mended else source,
        given=given,
        probs=contents.load(workdir.purified, ("probs",))["probs"],
        scores={
            name: float(scores[f"scores/{name}/accuracy"])
            for name in LABEL_SOURCES
            if f"scores/{name}/accuracy" in scores and not mended
        },
        calibrated=config.purify.preset == "default",
        soft=config.retrain.soft_labels,
    )


def flip_rate(problem: Problem) -> float | None:
    """Share of given labels that are wrong; None where the truth is unknown."""
    if problem.true_labels is None:
        return None
    return float(np.mean(problem.given_labels != problem.true_labels))
