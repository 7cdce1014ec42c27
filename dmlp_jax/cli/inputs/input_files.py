"""Names the input files of `dmlp-purify`, and reads features and labels from one of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import arrays, tables
from dmlp_jax.cli.inputs.raw_rows import Embedder, RawRows
from dmlp_jax.cli.inputs.table_frames import remedy, suffix
from dmlp_jax.data import label_notation
from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

# Entries of a block of features that is checked at a time, because a file may not fit into memory.
_BLOCK = 2**22
# Value of `Sources.val_given_labels`: the noisy labels of the clean rows are those in LABELS.
SAME = "same"


@dataclasses.dataclass(frozen=True)
class Sources:
    """The input files and columns.

    Attributes:
        features: file of the rows' features; a table or npz file may hold the labels too.
        labels: file of their given labels.
        val_features: file of the clean rows' features.
        val_labels: file of the clean rows' true labels.
        val_index: file of the row numbers of clean rows, instead of `val_features`.
        val_given_labels: file of the clean rows' noisy labels, empty or -1 where unknown. With `val_index`
            and `val_labels` they are those in `labels` without it, or with `SAME`.
        val_random: file with True or False for each clean row, whether it was drawn at random.
        label_column: column of labels in tables; a table of features need not have it if there is a file of
            labels.
        feature_columns: columns of features in tables, see `tables.read`.
        id_column: column of the rows' names in tables.
        num_classes: number of classes, if labels are class indices.
        annotators: columns of labels by several annotators, in place of `label_column`; empty for one.
        annotator_column: column of the annotators in a long table of labels.
        embedder: what embeds folders of images and tables of texts; None where there are none.
        show_columns: columns of a table of features that the report shows.
    """

    features: Path
    labels: Path | None = None
    val_features: Path | None = None
    val_labels: Path | None = None
    val_index: Path | None = None
    val_given_labels: Path | str | None = None
    val_random: Path | None = None
    label_column: str | None = None
    feature_columns: tuple[str, ...] | None = None
    id_column: str | None = None
    num_classes: int | None = None
    annotators: tuple[str, ...] = ()
    annotator_column: str | None = None
    embedder: Embedder | None = None
    show_columns: tuple[str, ...] = ()


class FeatureFile(NamedTuple):
    """Contents of a file of features; None for what it does not hold."""

    features: Any
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    left_out: Mapping[str, str] = MappingProxyType({})
    others: Mapping[str, np.ndarray] = MappingProxyType({})
    raw: RawRows | None = None


def read_labels(path: Path, column: str | None = None) -> np.ndarray:
    """One value per row, [n], from a list or from a column of a table.

    Raises:
        UserError: another kind of file, or one that cannot be read.
    """
    if tables.is_table(path):
        return label_notation.flat(str(path), tables.read_column(path, column))
    if suffix(path) not in arrays.VECTOR_SUFFIXES:
        known = ", ".join([*arrays.VECTOR_SUFFIXES, *tables.SUFFIXES])
        raise UserError(f"{path}: unknown kind of file {path.suffix!r}; use {known}{remedy(path)}")
    return arrays.read_vector(path)


def read_features(
    path: Path,
    sources: Sources,
    columns: tuple[str, ...] | None,
    exact: bool = False,
    labels: np.ndarray | None = None,
) -> FeatureFile:
    """Reads a file of features, with labels and other contents.

    Args:
        path: the file, `sources.features` or `sources.val_features`.
        sources: names of the columns of tables.
        columns: columns of features in tables.
        exact: whether `columns` are full names rather than prefixes.
        labels: labels of these rows from another file [n]; a column that is a code of them is no feature.

    Raises:
        UserError: the file cannot be read or holds no matrix of features.
    """
    table = tables.is_table(path)
    own = path == sources.features
    if sources.embedder is not None and sources.embedder.takes(path):
        return _embedded(path, sources, own)
    if own and not table:
        _refuse_options_of_tables(sources)
    if suffix(path) == ".npy":
        found = FeatureFile(arrays.read_matrix(path))
    elif suffix(path) == ".npz":
        stored = files.load_npz(path, ("features",))
        found = FeatureFile(stored.pop("features"), stored.pop("labels", None), others=stored)
    elif table:
        read = tables.read(
            path,
            label_column=sources.label_column,
            feature_columns=columns,
            # The clean rows' table need not have the id column.
            id_column=sources.id_column if own else None,
            exact=exact,
            labelled=(sources.labels if own else sources.val_labels) is None,
            labels=labels,
            ignored=sources.annotators,
        )
        found = FeatureFile(read.features, read.labels, read.ids, read.columns, read.left_out)
    else:
        raise UserError(
            f"{path}: unknown kind of file {path.suffix!r}; features come as .npy, .npz, "
            f"{', '.join(tables.SUFFIXES)}{remedy(path)}"
        )
    if found.labels is not None:
        found = found._replace(labels=label_notation.flat(f"labels in {path}", found.labels))
    check_matrix(str(path), found.features)
    if own:
        _check_varied(str(path), found.features)
    return found


def _embedded(path: Path, sources: Sources, own: bool) -> FeatureFile:
    """Reads and embeds texts or images."""
    assert sources.embedder is not None
    if sources.feature_columns is not None:
        raise UserError("--feature-columns is for tables of features; these rows are embedded")
    raw = sources.embedder.read(
        path,
        sources.labels if own and sources.annotator_column is None else None,
        sources.label_column,
        # The clean rows' table need not have the id column.
        sources.id_column if own else None,
    )
    if own:
        _check_varied(str(path), raw.features)
    return FeatureFile(raw.features, raw.labels, raw.ids, raw=raw)


def check_matrix(name: str, features: Any) -> None:
    """Checks that features are a matrix of finite real numbers with at least one row and column.

    `purify` checks this too, but here the message has the row numbers of the file.

    Raises:
        UserError: they are not; the message calls them `name`.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise UserError(
            f"{name} must hold a matrix [rows, features] with at least one of each, but has shape "
            f"{features.shape}; flatten each example to one row"
        )
    if features.dtype.kind not in "fiu":
        raise UserError(f"{name} must hold real numbers, not {features.dtype}; convert them to float32")
    if features.dtype.kind == "f":
        _check_finite(name, features)


def _check_finite(name: str, features: Any) -> None:
    """Checks that features are finite in float32, the purifier's precision."""
    step = max(1, _BLOCK // features.shape[1])
    bad, first = 0, None
    for start in range(0, len(features), step):
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(features[start : start + step], np.float32))
        if finite.all():
            continue
        rows = np.flatnonzero(~finite.all(axis=1))
        bad += len(rows)
        if first is None:
            row, column = start + int(rows[0]), int((~finite[rows[0]]).argmax())
            first = f"row {row}, column {column} is {features[row, column]}"
    if first:
        raise UserError(
            f"{name}: {first}, counted from 0 ({bad} of {len(features)} rows hold NaN or infinity in "
            "float32); remove those rows or repair the features"
        )


def _refuse_options_of_tables(sources: Sources) -> None:
    """Raises a UserError for options of tables if `sources.features` is not a table."""
    names = ["feature_columns", "id_column"]
    others = (sources.labels, sources.val_features, sources.val_labels, sources.val_given_labels)
    if not any(tables.is_table(Path(path)) for path in others if path is not None):
        names.append("label_column")
    for name in names:
        if getattr(sources, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is for tables, but {sources.features} is not a table"
            )


def _check_varied(name: str, features: Any) -> None:
    """Checks that not all rows are equal; reads only until a row differs."""
    first = np.asarray(features[0])
    for start in range(0, len(features), 4096):
        if (np.asarray(features[start : start + 4096]) != first).any():
            return
    if len(features) > 1:
        raise UserError(f"{name}: all {len(features)} rows are the same; nothing can be learned from them")
