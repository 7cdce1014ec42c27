"""Converts columns of Hugging Face `datasets` to arrays, and adds purified labels as columns."""

from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.interop.issue_table import issues, probs_of
from dmlp_jax.interop.libraries import require

# Rows that are looked at together, because Arrow copies them.
_ROWS = 4096
ADDED = ("purified_label", "purified_confidence", "is_label_issue", "label_score")


def dataset_arrays(
    dataset: Any, features: str = "embedding", label: str = "label"
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """A column of feature vectors and one of labels as `purify` takes them.

    Args:
        dataset: a `datasets.Dataset`.
        features: column of lists of d numbers.
        label: column of `ClassLabel`, or of `Value` strings or whole numbers; then the sorted values are the
            classes.

    Returns:
        Features [n, d] float32, class indices [n] int32 and the class names.

    Raises:
        UserError: datasets is not installed, a column is missing or has another type, or a row lacks its
            features or its label (`ClassLabel` writes -1).
    """
    datasets = require("datasets")
    for name in (features, label):
        if name not in dataset.column_names:
            raise UserError(f"the dataset has no column {name!r}; it has {', '.join(dataset.column_names)}")
    _refuse_missing(dataset, features)
    try:
        matrix = np.asarray(dataset.with_format("numpy", columns=[features])[:][features], np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"column {features!r} must hold lists of the same number of numbers") from error
    if matrix.ndim != 2:
        raise UserError(f"column {features!r} must hold a flat list of numbers, got shape {matrix.shape[1:]}")
    kind, values = dataset.features[label], dataset.with_format(None)[:][label]
    missing = np.array([value is None or value == "" or value == -1 for value in values])
    if missing.any():
        raise UserError(
            f"column {label!r}: row {int(missing.argmax())} has no label ({int(missing.sum())} such rows); "
            "filter them out"
        )
    if isinstance(kind, datasets.ClassLabel):
        return matrix, np.asarray(values, np.int32), tuple(kind.names)
    if not all(isinstance(value, (str, int)) for value in values):
        raise UserError(f"column {label!r} must hold ClassLabel, strings or whole numbers, not {kind}")
    classes, indices = np.unique(np.asarray(values), return_inverse=True)
    return matrix, indices.astype(np.int32), tuple(str(value) for value in classes)


def _refuse_missing(dataset: Any, name: str) -> None:
    """Raises a UserError if the column holds no list in some row, or a list with an empty place."""
    arrow = dataset.with_format("arrow", columns=[name])
    starts = range(0, dataset.num_rows, _ROWS)
    parts = [_missing(arrow[start : start + _ROWS].column(name).combine_chunks()) for start in starts]
    missing = np.concatenate([np.zeros(0, bool), *parts])
    if missing.any():
        raise UserError(
            f"column {name!r}: row {int(missing.argmax())} has no list of numbers, or one with an empty "
            f"place ({int(missing.sum())} such rows); embed these rows anew, or filter them out"
        )


def _missing(column: Any) -> np.ndarray:
    """Whether each list of an Arrow array is missing or has a missing value, bool [n]."""
    import pyarrow.compute
    from pyarrow import types

    missing = np.array(column.is_null().to_numpy(zero_copy_only=False))
    if (
        types.is_list(column.type)
        or types.is_large_list(column.type)
        or types.is_fixed_size_list(column.type)
    ):
        values = column.flatten()
        if values.null_count:
            rows = pyarrow.compute.list_parent_indices(column).to_numpy()
            missing[rows[values.is_null().to_numpy(zero_copy_only=False)]] = True
    return missing


def add_purified_columns(dataset: Any, result: Any, labels: np.ndarray, class_names: tuple[str, ...]) -> Any:
    """Adds purified labels to a dataset.

    Args:
        dataset: a `datasets.Dataset` of n rows; it is not changed.
        result: the result of `purify` for these rows.
        labels: the given labels, class indices [n].
        class_names: names of the classes.

    Returns:
        A new dataset with the columns `purified_label` (ClassLabel), `purified_confidence`, `is_label_issue`
        and `label_score` (how likely the given label is right); existing columns of these names are replaced.

    Raises:
        UserError: datasets is not installed, or the arguments do not match each other.
    """
    datasets = require("datasets")
    found, classes = issues(result, labels), probs_of(result).shape[1]
    if len(found) != dataset.num_rows:
        raise UserError(f"the result has {len(found)} rows but the dataset has {dataset.num_rows}")
    if len(class_names) != classes:
        raise UserError(f"class_names has {len(class_names)} names but the labels have {classes} classes")
    order = np.argsort(found.index)
    columns = (found.predicted_label, found.confidence, found.is_label_issue, found.label_score)
    dataset = dataset.remove_columns([name for name in ADDED if name in dataset.column_names])
    kinds = dict.fromkeys(ADDED, datasets.Value("float32"))
    kinds["purified_label"] = datasets.ClassLabel(names=list(class_names))
    kinds["is_label_issue"] = datasets.Value("bool")
    for name, values in zip(ADDED, columns, strict=True):
        dataset = dataset.add_column(name, values[order].tolist(), feature=kinds[name])
    return dataset
