"""Names the arrays of purified.npz (labels) and purifier.npz (all other results), and reads these files."""

from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.purifier import PurifyResult
from dmlp_jax.storage import files

# Of both files, raised when arrays are renamed or change their meaning. Files without one are of version 1.
FORMAT_VERSION = 1
# Fields of `PurifyResult` in purified.npz.
PER_ROW = ("labels", "probs", "confidence", "changed", "label_quality")


def purified_arrays(result: Any) -> dict[str, np.ndarray]:
    """The arrays of purified.npz: 'format_version', and `PER_ROW` with an entry per row each.

    Args:
        result: a `PurifyResult`, or another result with these fields.
    """
    return {name: np.asarray(getattr(result, name)) for name in PER_ROW} | _version()


def purifier_arrays(result: PurifyResult) -> dict[str, np.ndarray]:
    """The arrays of purifier.npz, by names such as 'history/val_loss'.

    'transition', 'format_version', and the fields 'history', 'scores', 'baselines', 'chosen', 'reliability',
    'diagnostics' and 'classifier' of `PurifyResult`; with several annotators also 'annotator_transition' and
    'annotator_quality'.
    """
    nested = {
        "history": result.history,
        "baselines": result.baselines,
        "chosen": result.chosen,
        "reliability": result.reliability,
        "diagnostics": result.diagnostics,
        "classifier": result.classifier._asdict(),
        **{f"scores/{name}": scores for name, scores in result.scores.items()},
    }
    arrays = {f"{group}/{key}": value for group, values in nested.items() for key, value in values.items()}
    if result.annotator_transition is not None:
        arrays["annotator_transition"] = np.asarray(result.annotator_transition)
        arrays["annotator_quality"] = np.asarray(result.annotator_quality)
    return {**arrays, "transition": result.transition} | _version()


def load(path: Path, required: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Reads purified.npz or purifier.npz, of this version or an earlier one.

    Args:
        path: the file.
        required: names of arrays that must be present.

    Raises:
        UserError: the file is missing, damaged, lacks a required array, or was written by a later version.
    """
    arrays = files.load_npz(path, required)
    version = int(arrays.get("format_version", 1))
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, but this dmlp_jax reads versions up to {FORMAT_VERSION}; "
            "install the version of dmlp_jax that wrote it, or a later one"
        )
    return arrays


def label_quality(purified: dict[str, np.ndarray], given: np.ndarray) -> np.ndarray:
    """How likely the given labels [n] are right, see `PurifyResult.label_quality`.

    Files of before it was kept have no 'label_quality'; it is the probability of the given label there.

    Args:
        purified: the arrays of purified.npz.
        given: class indices [n].
    """
    if "label_quality" in purified:
        return purified["label_quality"]
    return purified["probs"][np.arange(len(given)), given]


def _version() -> dict[str, np.ndarray]:
    return {"format_version": np.asarray(FORMAT_VERSION, np.int32)}
