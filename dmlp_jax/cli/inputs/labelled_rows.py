"""A labelling problem from the user's files: noisy rows, clean rows, and who is who.

Files are told apart by their names: .npy, .npz (arrays as in `own_features`) and tables (.csv, .tsv,
.parquet); lists of labels may also be .txt or .json.
"""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import clean_rows, tables
from dmlp_jax.cli.inputs.clean_rows import Draw
from dmlp_jax.cli.inputs.input_files import FeatureFile, Sources, read_features, read_labels
from dmlp_jax.data import class_labels, row_subset
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
        left_out: columns that are no features, see `tables.Table`.
        noise_rate: by which the clean rows were drawn from the noisy ones; None where they were given.
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
    noise_rate: float | None = None


def load(sources: Sources, draw: Draw | None = None) -> LabelledRows:
    """Reads and checks everything.

    Args:
        sources: where it stands.
        draw: takes some of the noisy rows for clean; then none may be given.

    Raises:
        UserError: a file or a combination of files is not what it should be; the message says what to do.
    """
    own = read_features(sources.features, sources, sources.feature_columns)
    labels = _given(sources, own)
    count = len(own.features)
    clean = clean_rows.find(sources, own, labels, draw)
    columns = {"labels": labels, "val labels": clean["labels"]}
    columns |= {"val given labels": clean["given"]} if clean["given"] is not None else {}
    if "true_labels" in own.others:
        columns["true_labels"] = own.others["true_labels"]
        clean_rows.check_count(
            f"true_labels in {sources.features}", columns["true_labels"], count, "features"
        )
    encoded, names = class_labels.encode(columns, sources.num_classes)
    names = _class_names(sources, own, names)
    clean_rows.check_every_class(encoded, names)
    index = np.setdiff1d(np.arange(count), clean["index"])
    if not len(index):
        raise UserError(f"{sources.val_index} names every row; leave rows whose labels are to be purified")
    whole = len(index) == count
    return LabelledRows(
        features=own.features if whole else row_subset.take_rows(own.features, index),
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
        noise_rate=clean.get("noise_rate"),
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
    clean_rows.check_count(f"labels in {path}", labels, len(own.features), str(sources.features))
    return labels


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
