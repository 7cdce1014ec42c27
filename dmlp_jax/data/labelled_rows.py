"""A labelling problem from the user's files: noisy rows, clean rows, and who is who.

Files are told apart by their names: .npy, .npz (arrays as in `own_features`) and tables (.csv, .tsv,
.parquet); lists of labels may also be .txt or .json.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.data import arrays, class_labels, tables
from dmlp_jax.data.sources import SAME, FeatureFile, Sources, check_matrix, read_features, read_labels
from dmlp_jax.errors import UserError


class LabelledRows(NamedTuple):
    """A problem for `purify`; features may lie on disk.

    Attributes:
        features: noisy rows [n, d].
        labels: their given class indices [n], int32.
        val_features: clean rows [m, d].
        val_labels: [m], int32.
        val_given_labels: [m], int32, or None.
        true_labels: [n], int32, where an npz file holds them; else None.
        class_names: one per class.
        row_numbers: of each noisy row in its file, [n].
        ids: the names of all rows in the file, [file_rows] strings, or None.
        file_rows: how many the file has.
        left_out: columns of row numbers that are no features.
    """

    features: Any
    labels: np.ndarray
    val_features: Any
    val_labels: np.ndarray
    val_given_labels: np.ndarray | None
    true_labels: np.ndarray | None
    class_names: tuple[str, ...]
    row_numbers: np.ndarray
    ids: np.ndarray | None
    file_rows: int
    left_out: tuple[str, ...]


def load(sources: Sources) -> LabelledRows:
    """Reads and checks everything.

    Raises:
        UserError: a file or a combination of files is not what it should be; the message says what to do.
    """
    own = read_features(sources.features, sources, sources.feature_columns)
    labels = _given(sources, own)
    count = len(own.features)
    clean = _clean_rows(sources, own, labels)
    columns = {"labels": labels, "val labels": clean["labels"]}
    columns |= {"val given labels": clean["given"]} if clean["given"] is not None else {}
    if "true_labels" in own.others:
        columns["true_labels"] = own.others["true_labels"]
        _check_count(f"true_labels in {sources.features}", columns["true_labels"], count, "features")
    encoded, names = class_labels.encode(columns, sources.num_classes)
    names = _class_names(sources, own, names)
    _check_every_class(encoded, names)
    index = np.setdiff1d(np.arange(count), clean["index"])
    if not len(index):
        raise UserError(f"{sources.val_index} names every row; leave rows whose labels are to be purified")
    whole = len(index) == count
    return LabelledRows(
        features=own.features if whole else arrays.take_rows(own.features, index),
        labels=encoded["labels"][index],
        val_features=clean["features"],
        val_labels=encoded["val labels"],
        val_given_labels=encoded.get("val given labels"),
        true_labels=encoded["true_labels"][index] if "true_labels" in encoded else None,
        class_names=names,
        row_numbers=index,
        ids=own.ids,
        file_rows=count,
        left_out=own.left_out,
    )


def _given(sources: Sources, own: FeatureFile) -> np.ndarray:
    if sources.labels is not None:
        labels, path = read_labels(sources.labels, sources.label_column), sources.labels
    elif own.labels is not None:
        labels, path = own.labels, sources.features
    else:
        raise UserError(
            f"{sources.features} holds no labels; name their file after it"
            + (", or their column with --label-column" if sources.features.suffix in tables.SUFFIXES else "")
        )
    _check_count(f"labels in {path}", labels, len(own.features), str(sources.features))
    return labels


def _clean_rows(sources: Sources, own: FeatureFile, labels: np.ndarray) -> dict[str, Any]:
    """'features', 'labels', 'given' of the clean rows, and the 'index' of those among the noisy ones."""
    if sources.val_features is not None and sources.val_index is not None:
        raise UserError("give --val-features or --val-index, not both: the clean rows are one set")
    if sources.val_index is not None:
        found = _among(sources, sources.val_index, own, labels)
    elif sources.val_features is not None:
        found = _apart(sources, sources.val_features, own)
    elif {"val_features", "val_labels"} <= set(own.others):
        found = _inside(sources, own)
    else:
        holds = f" ({sources.features} holds {', '.join(sorted(own.others))})" if own.others else ""
        raise UserError(
            "no clean rows: give a few rows whose labels are right, as --val-features and --val-labels, or "
            f"as --val-index FILE with their row numbers{holds}"
        )
    name = found.pop("name")
    count = len(found["features"])
    if sources.val_labels is not None:
        found["labels"] = read_labels(sources.val_labels, sources.label_column)
    if found["labels"] is None:
        raise UserError(f"{name} holds no labels; give them with --val-labels")
    if sources.val_given_labels not in (None, SAME):
        found["given"] = read_labels(Path(sources.val_given_labels), sources.label_column)
    _check_count("val labels", found["labels"], count, name)
    if found["given"] is not None:
        _check_count("val given labels", found["given"], count, name)
    width = found["features"].shape[-1]
    if width != own.features.shape[1]:
        raise UserError(
            f"{name} has {width} columns of features but {sources.features} has {own.features.shape[1]}; "
            "both must come from the same encoder"
        )
    return found


def _among(sources: Sources, path: Path, own: FeatureFile, labels: np.ndarray) -> dict[str, Any]:
    """Clean rows that the index in a file picks of the rows themselves."""
    index = arrays.read_row_index(path, len(own.features))
    if sources.val_given_labels == SAME and sources.val_labels is None:
        raise UserError(
            "--val-given-labels without a file needs --val-labels: the true labels of these rows, to compare"
        )
    return {
        "features": np.asarray(own.features[index]),
        "labels": labels[index],
        "given": labels[index] if sources.val_given_labels == SAME else None,
        "index": index,
        "name": f"--val-index {path}",
    }


def _apart(sources: Sources, path: Path, own: FeatureFile) -> dict[str, Any]:
    """Clean rows of a file of their own."""
    if sources.val_given_labels == SAME:
        raise UserError("--val-given-labels needs a file, unless --val-index says which rows are clean")
    # The columns of the noisy rows, by their whole names: f1 is not to be found in f10.
    clean = read_features(path, sources, own.columns, exact=True)
    return {
        "features": clean.features,
        "labels": clean.labels,
        "given": None,
        "index": np.zeros(0, np.int64),
        "name": str(path),
    }


def _inside(sources: Sources, own: FeatureFile) -> dict[str, Any]:
    """Clean rows that the npz file of the noisy ones holds as well."""
    name = f"val_features in {sources.features}"
    check_matrix(name, own.others["val_features"])
    return {
        "features": own.others["val_features"],
        "labels": own.others["val_labels"],
        "given": own.others.get("val_given_labels"),
        "index": np.zeros(0, np.int64),
        "name": name,
    }


def _class_names(sources: Sources, own: FeatureFile, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of an npz file for its class indices, else `names`."""
    stored = own.others.get("class_names")
    if stored is None:
        return names
    if stored.ndim != 1 or not len(stored):
        raise UserError(
            f"class_names in {sources.features} has shape {stored.shape}; give one name for each class, [c]"
        )
    name, times = Counter(map(str, stored)).most_common(1)[0]
    if times > 1:
        raise UserError(
            f"class_names in {sources.features} holds {name!r} {times} times; give each class its own name"
        )
    if names != tuple(map(str, range(len(stored)))):
        raise UserError(
            f"{sources.features} has {len(stored)} class_names, so labels must be 0 to {len(stored) - 1} and "
            f"each must occur; they are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
        )
    return tuple(map(str, stored))


def _check_count(what: str, values: np.ndarray, count: int, of: str) -> None:
    if values.ndim != 1 or len(values) != count:
        raise UserError(
            f"{what}: shape {values.shape}, but {of} has {count} rows; give one label for each row"
        )


def _check_every_class(encoded: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise UserError(f"all labels are {names[0]!r}; purification needs at least two classes")
    absent = np.setdiff1d(np.arange(len(names)), encoded["val labels"])
    if absent.size:
        shown = ", ".join(repr(names[label]) for label in absent[:8]) + (", ..." if absent.size > 8 else "")
        raise UserError(
            f"the clean rows have none of class {shown} ({absent.size} of {len(names)} classes); add at "
            "least one clean row of each, or remove the class from the data"
        )
