"""Reads and checks the input of `dmlp-purify`: noisy rows, clean rows, class and row names.

The format of a file follows from its suffix: .npy, .npz (arrays as in `own_features`) or tables (.csv, .tsv,
.parquet); lists of labels may also be .txt or .json.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import annotators, clean_rows, given_labels, tables
from dmlp_jax.cli.inputs.annotators import GivenVotes
from dmlp_jax.cli.inputs.clean_rows import Draw
from dmlp_jax.cli.inputs.input_files import FeatureFile, Sources, read_features, read_labels
from dmlp_jax.cli.inputs.raw_rows import RawRows
from dmlp_jax.data import class_labels, label_notation, row_subset
from dmlp_jax.errors import UserError

# Names in lower case of columns that often hold labels.
_LIKELY_LABELS = ("class", "target", "category", "y", "species", "sentiment", "outcome", "truth")


class FileRows(NamedTuple):
    """All rows of the user's file, for the corrected table.

    Attributes:
        given: given class indices [file_rows], int32.
        clean: numbers of the clean rows among them that somebody gave, the first of the clean rows.
        raw: texts or images and where they came from; None for rows of features.
        table: file of the table that features came from; None for other files.
    """

    given: np.ndarray
    clean: np.ndarray
    raw: RawRows | None = None
    table: Path | None = None


class LabelledRows(NamedTuple):
    """The input of `purify`; features may be memory maps. Without clean rows m is 0.

    Attributes:
        features: features of the noisy rows [n, d].
        labels: given class indices of the noisy rows [n], int32.
        val_features: features of the clean rows [m, d].
        val_labels: true class indices of the clean rows [m], int32.
        val_given_labels: noisy class indices of the clean rows [m], int32, -1 where unknown; or None.
        true_labels: true class indices of the noisy rows [n], int32, if an npz file holds them; else None.
        class_names: one per class.
        row_numbers: number of each noisy row in its file [n].
        ids: names of all rows in the file, [file_rows] strings, or None.
        file_rows: number of rows in the file.
        left_out: why each column that is no feature is none, see `tables.Table`.
        noise_rate: noise rate at which clean rows were drawn from the noisy rows; None if they were given.
        val_random: whether each clean row was drawn at random [m], see `purify`; None if all were.
        columns: names of the columns of features of a table; None for other files.
        votes: with several annotators, class indices [n, a], -1 for none; `labels` are their majority then.
        val_votes: those of the clean rows [m, a], or None where they are unknown.
        annotators: names of the annotators [a].
        file: all rows of the file; None where they are not known.
        val_numbers: number of each clean row in the file of the noisy rows [m], -1 for rows of other files;
            None if all are.
        shown: by name, the texts of columns that the report shows, [file_rows] each.
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
    left_out: Mapping[str, str]
    noise_rate: float | None = None
    val_random: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    votes: np.ndarray | None = None
    val_votes: np.ndarray | None = None
    annotators: tuple[str, ...] = ()
    file: FileRows | None = None
    val_numbers: np.ndarray | None = None
    shown: Mapping[str, list[str]] = MappingProxyType({})


def load(sources: Sources, draw: Draw | None = None, needs_clean: bool = True) -> LabelledRows:
    """Reads and checks all input files.

    Args:
        sources: the input files and columns.
        draw: function that draws clean rows from the noisy rows; then no clean rows may be given.
        needs_clean: whether there must be clean rows, of every class. Else there may be none yet, or none of
            a class.

    Raises:
        UserError: a file or a combination of files is invalid; the message says what to do.
    """
    embedded = sources.embedder is not None and sources.embedder.takes(sources.features)
    beside = None
    one_each = not (sources.annotators or sources.annotator_column)
    if sources.labels is not None and not embedded and one_each:
        beside = read_labels(sources.labels, sources.label_column)
    own = read_features(sources.features, sources, sources.feature_columns, labels=beside)
    several = _votes(sources, own)
    labels = given(sources, own, beside) if several is None else several.majority()
    count = len(own.features)
    clean = clean_rows.find(sources, own, labels, draw)
    columns = {"labels": labels}
    if several is not None:
        columns["labels of annotators"] = several.cells[several.cells != ""]
    if len(clean["features"]):
        columns["val labels"] = clean["labels"]
    known = given_labels.known(clean["given"], len(clean["labels"]))
    if clean["given"] is not None and not known.all():
        classes = class_labels.encode(columns, sources.num_classes)[1]
        known = given_labels.known(clean["given"], len(clean["labels"]), classes)
    if known.any():
        columns["val given labels"] = given_labels.fill(clean["given"], known)
    if "true_labels" in own.others:
        columns["true_labels"] = label_notation.flat(
            f"true_labels in {sources.features}", own.others["true_labels"]
        )
        clean_rows.check_count(
            f"true_labels in {sources.features}", columns["true_labels"], count, "features"
        )
    encoded, names = class_labels.encode(columns, sources.num_classes)
    names = _class_names(sources, own, names)
    clean_rows.check_classes(names)
    val_labels = encoded.get("val labels", np.zeros(0, np.int32))
    if needs_clean and len(val_labels):
        clean_rows.check_every_class(val_labels, names)
    index = np.setdiff1d(np.arange(count), np.append(clean["index"], _unreadable(own, clean["index"])))
    if not len(index):
        raise UserError(
            f"{sources.val_index} names every row; leave out the rows whose labels are to be purified"
        )
    val_given = encoded.get("val given labels")
    votes = None if several is None else annotators.encode(several, names, sources.num_classes)
    whole = len(index) == count
    return LabelledRows(
        features=own.features if whole else row_subset.take_rows(own.features, index),
        labels=encoded["labels"][index] if votes is None else annotators.majority(votes[index], len(names)),
        val_features=clean["features"],
        val_labels=val_labels,
        val_given_labels=None if val_given is None else np.where(known, val_given, np.int32(-1)),
        true_labels=encoded["true_labels"][index] if "true_labels" in encoded else None,
        class_names=names,
        row_numbers=index,
        ids=own.ids,
        file_rows=count,
        left_out=own.left_out,
        noise_rate=clean.get("noise_rate"),
        val_random=clean.get("random"),
        columns=own.columns,
        votes=None if votes is None else votes[index],
        val_votes=None if votes is None or val_given is None else votes[clean["index"]],
        annotators=() if several is None else several.names,
        file=FileRows(
            encoded["labels"],
            clean["index"][:0] if "noise_rate" in clean else clean["index"],
            own.raw,
            sources.features if own.columns is not None else None,
        ),
        val_numbers=np.asarray(clean["index"]) if len(clean["index"]) == len(clean["labels"]) else None,
        shown=tables.read_shown(sources.features, sources.show_columns) if sources.show_columns else {},
    )


def _unreadable(own: FeatureFile, clean: np.ndarray) -> np.ndarray:
    """Numbers of images that cannot be decoded, none of them a clean row."""
    if own.raw is None:
        return np.zeros(0, np.int64)
    found = np.array(sorted(own.raw.unreadable), np.int64)
    for row in np.intersect1d(found, clean):
        name = row if own.ids is None else own.ids[row]
        raise UserError(
            f"the image {name} is a clean row but cannot be decoded ({own.raw.unreadable[int(row)]}); repair "
            "it, or take it from the clean rows"
        )
    return found


def _votes(sources: Sources, own: FeatureFile) -> GivenVotes | None:
    """The labels of several annotators; None where each row has one label."""
    if sources.annotators:
        path = sources.labels or sources.features
        found = annotators.read_wide(path, sources.annotators)
    elif sources.annotator_column is not None:
        if sources.labels is None or own.ids is None or sources.id_column is None:
            raise UserError(
                "--annotator-column is for a long table of labels: name its file as LABELS, and with "
                "--id-column the column of the rows' names in both tables"
            )
        path = sources.labels
        found = annotators.read_long(
            path, own.ids, sources.id_column, sources.annotator_column, sources.label_column
        )
    else:
        return None
    clean_rows.check_count(f"labels in {path}", found.cells[:, 0], len(own.features), str(sources.features))
    if sources.val_index is not None and sources.val_labels is None:
        raise UserError(
            "--val-index names clean rows, but with several annotators their right labels are in no column; "
            "give them as --val-labels"
        )
    return found


def given(sources: Sources, own: FeatureFile, beside: np.ndarray | None) -> np.ndarray:
    """The given labels of all rows, one each [file_rows]; `beside` are those of their own file."""
    if sources.labels is not None and own.raw is not None and own.raw.pictures is None:
        raise UserError(
            f"{sources.labels}: the labels of texts are a column of their table; see --label-column"
        )
    if beside is not None and own.raw is None:
        labels, path = beside, sources.labels
    elif own.labels is not None:
        labels, path = own.labels, sources.features
    else:
        if own.raw is not None and own.raw.pictures is not None:
            raise UserError(
                f"{sources.features} has no class folders, so its images have no labels; name a table of "
                "their names and labels after it"
            )
        raise UserError(
            f"{sources.features} holds no labels; name their file after it"
            + (f", or their column with --label-column{_candidates(own)}" if own.columns is not None else "")
        )
    clean_rows.check_count(f"labels in {path}", labels, len(own.features), str(sources.features))
    return labels


def _candidates(own: FeatureFile) -> str:
    """The columns of a table that may hold labels, as the end of a message; empty if none looks so."""
    names = [str(name) for name in (*(own.columns or ()), *own.left_out)]
    found = [name for name in names if name.lower() in _LIKELY_LABELS or "label" in name.lower()]
    return f" (perhaps {', '.join(map(repr, found[:4]))})" if found else ""


def _class_names(sources: Sources, own: FeatureFile, names: tuple[str, ...]) -> tuple[str, ...]:
    """The class names of an npz file, if it has any, else `names`."""
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
