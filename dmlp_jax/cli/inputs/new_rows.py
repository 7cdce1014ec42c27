"""Reads rows that an earlier run never saw, with the features and the classes of that run."""

from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import clean_rows, labelled_rows
from dmlp_jax.cli.inputs.input_files import Sources, read_features, read_labels
from dmlp_jax.cli.inputs.labelled_rows import FileRows, LabelledRows
from dmlp_jax.data import class_labels
from dmlp_jax.errors import UserError


class Earlier(NamedTuple):
    """What a run left for rows that come later, from its summary.json.

    Attributes:
        class_names: the classes [c].
        columns: names of the columns of features, or None.
        embedding: 'encoder', 'key' and 'weights' of raw rows, see `RawRows`, or None.
    """

    class_names: tuple[str, ...]
    columns: tuple[str, ...] | None
    embedding: dict[str, str] | None


def earlier(summary: dict[str, Any]) -> Earlier:
    """`Earlier` of the contents of summary.json."""
    columns = summary.get("feature_columns")
    return Earlier(
        tuple(summary["classes"]), None if columns is None else tuple(columns), summary.get("embedding")
    )


def load(sources: Sources, run: Earlier, width: int) -> LabelledRows:
    """Reads the rows; all of them are 'noisy', none is clean.

    Args:
        sources: the files; with the embedder of the run for raw rows.
        run: the earlier run.
        width: number of its features.

    Raises:
        UserError: the files cannot be read, the features are others than those of the run, or a label is
            none of its classes.
    """
    beside = None
    if sources.labels is not None and sources.embedder is None:
        beside = read_labels(sources.labels, sources.label_column)
    own = read_features(sources.features, sources, run.columns, exact=True)
    if own.features.shape[1] != width:
        raise UserError(
            f"{sources.features} has {own.features.shape[1]} features, but the run had {width}; both must "
            "come from the same encoder"
        )
    labels = labelled_rows.given(sources, own, beside)
    clean_rows.check_count("labels", labels, len(own.features), str(sources.features))
    codes, names = class_labels.encode({"labels": labels}, None)
    places = {name: place for place, name in enumerate(run.class_names)}
    unknown = [name for name in names if name not in places]
    if unknown:
        shown = ", ".join(run.class_names[:8]) + (", ..." if len(run.class_names) > 8 else "")
        raise UserError(f"labels hold {unknown[0]!r}, which is no class of the run ({shown}); correct them")
    given = np.array([places[name] for name in names], np.int32)[codes["labels"]]
    nothing = np.zeros(0, np.int32)
    return LabelledRows(
        features=own.features,
        labels=given,
        val_features=np.zeros((0, width), np.float32),
        val_labels=nothing,
        val_given_labels=None,
        true_labels=None,
        class_names=run.class_names,
        row_numbers=np.arange(len(given)),
        ids=own.ids,
        file_rows=len(given),
        left_out=own.left_out,
        columns=own.columns,
        file=FileRows(given, nothing, own.raw, sources.features if own.columns is not None else None),
    )
