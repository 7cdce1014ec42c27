"""Makes a table of label issues with the column names of cleanlab."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError

# Fields that are not always a column.
_OPTIONAL = ("ids", "accepted", "more")


@dataclasses.dataclass(frozen=True)
class Issues:
    """One entry per row, the most suspicious first; arrays [n].

    Attributes:
        index: number of the row.
        is_label_issue: whether the purified label differs from the given one, bool.
        label_score: how likely the given label is right, in [0, 1], float64: `PurifyResult.label_quality`. A
            probability where `purify` got `val_given_labels`, else a ranking.
        given_label: class names, or class indices where no names were given.
        predicted_label: the purified label, likewise.
        confidence: probability of the purified label, in [0, 1], float64.
        runner_up: the most probable class beside the purified one, likewise; '' or -1 where all others have
            probability 0.
        ids: the rows' names, or None.
        accepted: whether the purified label is accepted at a risk (`dmlp_jax.accept`), bool; or None.
        more: further columns by name, such as those of `dmlp_jax.data.row_checks`.
    """

    index: np.ndarray
    is_label_issue: np.ndarray
    label_score: np.ndarray
    given_label: np.ndarray
    predicted_label: np.ndarray
    confidence: np.ndarray
    runner_up: np.ndarray
    ids: np.ndarray | None = None
    accepted: np.ndarray | None = None
    more: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, in the order of the file."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in _OPTIONAL]
        first = {} if self.ids is None else {"id": self.ids}
        last = {} if self.accepted is None else {"accepted": self.accepted}
        return first | {name: getattr(self, name) for name in names} | dict(self.more) | last

    @property
    def frame(self) -> Any:
        """The table as a pandas DataFrame, with the row numbers as its index.

        `frame.sort_index()` has the order of the data.
        """
        import pandas

        columns = self.columns()
        index = pandas.Index(columns.pop("index"), name="index")
        return pandas.DataFrame(columns, index=index)

    def csv(self) -> str:
        """The table as comma-separated text with a header; probabilities have 6 digits."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        columns = self.columns()
        writer.writerow(columns)
        for name in ("label_score", "confidence"):
            columns[name] = np.char.mod("%.6f", columns[name])
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        return file.getvalue()


def issues(
    result: Any,
    labels: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    index: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    accepted: np.ndarray | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> Issues:
    """Label issues of a purified data set, the most suspicious rows first.

    Args:
        result: the result of `purify`, or purified.npz opened by `numpy.load`: `probs` [n, c] and
            `label_quality` [n] are read. Files of before `label_quality` was kept give the probability of the
            given label in its place.
        labels: the given labels, class indices [n] or distributions [n, c], of which the most probable class
            is used.
        class_names: names of the c classes, shown instead of indices.
        index: number of each row [n], 0 to n - 1 by default.
        ids: name of each row [n].
        accepted: `rows` of `dmlp_jax.accept`, [n], for a column of their own.
        more: further columns by name, [n] each.

    Returns:
        The rows in ascending order of `label_score`; equal ones stay in the order of the data.

    Raises:
        UserError: the arguments do not match each other.
    """
    probs = np.asarray(probs_of(result), np.float64)
    given = given_indices(labels, *probs.shape)
    names = None if class_names is None else np.asarray(class_names)
    if names is not None and len(names) != probs.shape[1]:
        raise UserError(f"class_names has {len(names)} names but the labels have {probs.shape[1]} classes")
    for what, values in (("index", index), ("ids", ids), ("accepted", accepted), *(more or {}).items()):
        if values is not None and len(values) != len(probs):
            raise UserError(f"{what} has {len(values)} entries but there are {len(probs)} rows")
    predicted = probs.argmax(axis=1)
    score = _quality(result, probs, given)
    order = np.argsort(score, kind="stable")

    def named(classes):
        return classes[order] if names is None else names[classes[order]]

    others = probs.copy()
    others[np.arange(len(probs)), predicted] = 0.0
    second, absent = others.argmax(axis=1), others.max(axis=1) <= 0
    second[absent] = -1
    runner_up = named(second)
    if names is not None:
        runner_up = np.where(absent[order], "", runner_up)

    return Issues(
        index=(np.arange(len(probs)) if index is None else np.asarray(index))[order],
        is_label_issue=(predicted != given)[order],
        label_score=score[order],
        given_label=named(given),
        predicted_label=named(predicted),
        confidence=probs.max(axis=1)[order],
        runner_up=runner_up,
        ids=None if ids is None else np.asarray(ids)[order],
        accepted=None if accepted is None else np.asarray(accepted)[order],
        more={name: np.asarray(values)[order] for name, values in (more or {}).items()},
    )


def probs_of(result: Any) -> np.ndarray:
    """`probs` [n, c] of a `PurifyResult` or of the arrays of purified.npz."""
    return np.asarray(result["probs"] if isinstance(result, Mapping) else result.probs)


def _quality(result: Any, probs: np.ndarray, given: np.ndarray) -> np.ndarray:
    if not isinstance(result, Mapping):
        return np.asarray(result.label_quality, np.float64)
    if "label_quality" in result:
        return np.asarray(result["label_quality"], np.float64)
    return probs[np.arange(len(probs)), given]


def given_indices(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Given labels as class indices [count].

    Raises:
        UserError: the number of rows differs, or the labels are not class indices below `classes`.
    """
    given = np.asarray(labels)
    if given.ndim == 2:
        given = given.argmax(axis=1)
    if given.shape != (count,):
        raise UserError(f"labels has shape {given.shape} but the result has {count} rows")
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= classes:
        raise UserError(
            f"labels must be class indices 0 to {classes - 1} as `purify` takes them, got {given.dtype} from "
            f"{given.min()} to {given.max()}"
        )
    return given.astype(np.int64)
