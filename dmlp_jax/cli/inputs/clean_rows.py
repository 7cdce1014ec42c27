"""Finds the clean rows in the user's files, or draws them from the noisy rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.cli.inputs import arrays
from dmlp_jax.cli.inputs.input_files import (
    SAME,
    FeatureFile,
    Sources,
    check_matrix,
    read_features,
    read_labels,
)
from dmlp_jax.data import class_labels, class_names, label_notation
from dmlp_jax.errors import UserError, nearest

# Maps features [n, d], class indices [n] and the number of classes to rows to use as clean, and a noise rate.
Draw = Callable[[Any, np.ndarray, int], tuple[np.ndarray, float]]


def find(sources: Sources, own: FeatureFile, labels: np.ndarray, draw: Draw | None) -> dict[str, Any]:
    """'features', 'labels', 'given' of the clean rows, and the 'index' of those among the noisy rows.

    Without any there are no rows of features. 'given' is None where no given label is known; else some may be
    missing, see `given_labels`. Also 'random', whether each clean row was drawn at random, if a file says so,
    and 'noise_rate' if they were drawn here.

    Args:
        sources: the input files and columns.
        own: the noisy rows.
        labels: given labels of the noisy rows [n].
        draw: function that draws clean rows from the noisy rows, if no clean rows are given.

    Raises:
        UserError: the clean rows do not match the noisy rows, or are named in part.
    """
    if sources.val_features is not None and sources.val_index is not None:
        raise UserError("give --val-features or --val-index, not both: the clean rows are one set")
    if draw is not None:
        return _drawn(sources, own, labels, draw)
    if sources.val_index is not None:
        found = _among(sources, sources.val_index, own, labels)
    elif sources.val_features is not None:
        found = _apart(sources, sources.val_features, own)
    elif {"val_features", "val_labels"} <= set(own.others):
        found = _inside(sources, own)
    else:
        return _none(sources, own)
    name = found.pop("name")
    count = len(found["features"])
    if sources.val_labels is not None:
        found["labels"] = read_labels(sources.val_labels, sources.label_column)
    if found["labels"] is None:
        raise UserError(f"{name} holds no labels; give them with --val-labels")
    if sources.val_given_labels not in (None, SAME):
        found["given"] = read_labels(Path(sources.val_given_labels), sources.label_column)
    check_count("val labels", found["labels"], count, name)
    if found["given"] is not None:
        check_count("val given labels", found["given"], count, name)
    if sources.val_random is not None:
        found["random"] = arrays.read_flags(sources.val_random, count)
    if found.get("random") is not None:
        check_count("val_random", found["random"], count, name)
    width = found["features"].shape[-1]
    if width != own.features.shape[1]:
        raise UserError(
            f"{name} has {width} columns of features but {sources.features} has {own.features.shape[1]}; "
            "both must come from the same encoder"
        )
    return found


def _drawn(sources: Sources, own: FeatureFile, labels: np.ndarray, draw: Draw) -> dict[str, Any]:
    """Clean rows drawn from the noisy rows."""
    for name in ("val_features", "val_labels", "val_index", "val_given_labels", "val_random"):
        if getattr(sources, name) is not None:
            option = name.replace("_", "-")
            raise UserError(f"give --{option} or --draw-clean, not both: each names the clean rows")
    if "val_features" in own.others:
        raise UserError(f"{sources.features} holds val_features, its clean rows; leave --draw-clean out")
    known = {"labels": labels}
    if "true_labels" in own.others:
        known["true_labels"] = label_notation.flat("true_labels", own.others["true_labels"])
    encoded, names = class_labels.encode(known, sources.num_classes)
    absent = np.setdiff1d(np.arange(len(names)), encoded["labels"])
    if absent.size:
        raise UserError(
            f"no row is labelled {names[absent[0]]!r} ({absent.size} of {len(names)} classes), so none can "
            "be drawn; correct --num-classes or the labels, or give clean rows"
        )
    index, noise_rate = draw(own.features, encoded["labels"], len(names))
    if len(index) == len(labels):
        raise UserError("--draw-clean: every class has one row only, so none is left to be purified")
    return {
        "features": np.asarray(own.features[index]),
        "labels": labels[index],
        "given": None,
        "index": index,
        "noise_rate": noise_rate,
    }


def _among(sources: Sources, path: Path, own: FeatureFile, labels: np.ndarray) -> dict[str, Any]:
    """Clean rows that a file of row numbers selects from the rows.

    With their true labels in a file of their own, LABELS holds what they were given.
    """
    index = _row_index(path, own)
    if sources.val_given_labels == SAME and sources.val_labels is None:
        raise UserError("--val-given-labels without a file needs --val-labels, the true labels of these rows")
    return {
        "features": np.asarray(own.features[index]),
        "labels": labels[index],
        "given": None if sources.val_labels is None else labels[index],
        "index": index,
        "name": f"--val-index {path}",
    }


def _row_index(path: Path, own: FeatureFile) -> np.ndarray:
    """Row numbers from a file of row numbers, booleans, or names where the rows have names."""
    words = [str(value).strip() for value in arrays.read_vector(path)] if own.ids is not None else []
    if all(word.isdigit() or word.lower() in ("true", "false") for word in words) or own.ids is None:
        return arrays.read_row_index(path, len(own.features))
    places: dict[str, list[int]] = {}
    for row, name in enumerate(own.ids.tolist()):
        places.setdefault(str(name), []).append(row)
    for place, word in enumerate(words):
        found = places.get(word, [])
        if not found:
            hint = nearest(word, list(places))
            raise UserError(f"{path}, entry {place}: no row is called {word!r}{hint}")
        if len(found) > 1:
            raise UserError(f"{path} names {word!r}, but rows {found[0]} and {found[1]} are both called so")
        if words.index(word) < place:
            raise UserError(f"{path} names {word!r} twice; name each row once")
    return np.array([places[word][0] for word in words], np.int64)


def _none(sources: Sources, own: FeatureFile) -> dict[str, Any]:
    """No clean rows: labels are then ranked, and none is changed."""
    for name in ("val_labels", "val_given_labels", "val_random"):
        if getattr(sources, name) is not None:
            holds = f" ({sources.features} holds {', '.join(sorted(own.others))})" if own.others else ""
            raise UserError(
                f"--{name.replace('_', '-')} is of clean rows, but no clean rows are named; give their "
                f"features as --val-features, or their row numbers as --val-index{holds}"
            )
    return {
        "features": np.zeros((0, own.features.shape[1]), np.float32),
        "labels": np.zeros(0, np.int64),
        "given": None,
        "index": np.zeros(0, np.int64),
    }


def _apart(sources: Sources, path: Path, own: FeatureFile) -> dict[str, Any]:
    """Clean rows from a separate file."""
    if sources.val_given_labels == SAME:
        raise UserError("--val-given-labels needs a file, unless --val-index says which rows are clean")
    # The columns of the noisy rows, by their full names, so that f1 does not match f10.
    clean = read_features(path, sources, own.columns, exact=True)
    return {
        "features": clean.features,
        "labels": clean.labels,
        "given": None,
        "index": np.zeros(0, np.int64),
        "name": str(path),
    }


def _inside(sources: Sources, own: FeatureFile) -> dict[str, Any]:
    """Clean rows from the npz file of the noisy rows."""
    name = f"val_features in {sources.features}"
    check_matrix(name, own.others["val_features"])
    given = own.others.get("val_given_labels")
    return {
        "features": own.others["val_features"],
        "labels": label_notation.flat("val_labels", own.others["val_labels"]),
        "given": None if given is None else label_notation.flat("val_given_labels", given),
        "random": own.others.get("val_random"),
        "index": np.zeros(0, np.int64),
        "name": name,
    }


def check_count(what: str, values: np.ndarray, count: int, of: str) -> None:
    """Raises a UserError unless there is one label for each row."""
    if values.ndim != 1 or len(values) != count:
        raise UserError(
            f"{what}: shape {values.shape}, but {of} has {count} rows; give one value for each row"
        )


def check_classes(names: tuple[str, ...]) -> None:
    """Raises a UserError if there are fewer than two classes."""
    if len(names) < 2:
        raise UserError(f"all labels are {names[0]!r}; purification needs at least two classes")


def check_every_class(val_labels: np.ndarray, names: tuple[str, ...]) -> None:
    """Raises a UserError if there is a class without clean row."""
    absent = np.setdiff1d(np.arange(len(names)), val_labels)
    if absent.size:
        shown = ", ".join(repr(names[label]) for label in absent[:8]) + (", ..." if absent.size > 8 else "")
        raise UserError(
            f"the clean rows have none of class {shown} ({absent.size} of {len(names)} classes); add at "
            "least one clean row of each, or purify the rows of the other classes only"
            + "".join(f". Note: {text}" for text in class_names.near_equal(names))
        )
