"""Reads and checks the user's own features and labels from one npz file.

Required arrays: features [n, d], labels [n], val_features [m, d], val_labels [m]. Optional: true_labels [n],
test_features [t, d], test_labels [t], val_given_labels [m] (-1 where unknown), val_random [m] (whether each
clean row was drawn at random) and class_names [c].
"""

import difflib
from pathlib import Path

import numpy as np

from dmlp_jax.data import label_notation
from dmlp_jax.data.types import Dataset
from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

REQUIRED = ("features", "labels", "val_features", "val_labels")
OPTIONAL = (
    "true_labels",
    "test_features",
    "test_labels",
    "val_given_labels",
    "val_random",
    "class_names",
)


def load(path: Path | None) -> Dataset:
    """Reads and checks the file.

    Raises:
        UserError: there is no path, the file is missing or damaged, an array is missing, or the shapes, types
            or classes of the arrays do not fit together.
    """
    if path is None:
        raise UserError(f"data.path is empty; name an npz file with the arrays {', '.join(REQUIRED)}")
    arrays = files.load_npz(path, REQUIRED)
    for name in sorted(set(arrays) - set(REQUIRED) - set(OPTIONAL)):
        # Unknown arrays are allowed, but a misspelt optional one would be ignored silently.
        close = difflib.get_close_matches(name, set(OPTIONAL) - set(arrays), n=1, cutoff=0.85)
        if close:
            raise UserError(f"{path} holds {name!r}; did you mean {close[0]!r}?")
    width = _features(path, arrays, "features").shape[1]
    for name in ("val_features", "test_features"):
        if name in arrays and _features(path, arrays, name).shape[1] != width:
            raise UserError(
                f"{name} in {path} has {arrays[name].shape[1]} columns but features has {width}; all must "
                "come from the same encoder"
            )
    if ("test_features" in arrays) != ("test_labels" in arrays):
        raise UserError(f"{path} must hold both test_features and test_labels, or neither")
    names = arrays.get("class_names")
    tops = [int(_labels(path, arrays, name).max()) for name in arrays if name.endswith("labels")]
    classes = len(names) if names is not None else 1 + max(tops)
    if max(tops) >= classes:
        raise UserError(f"{path} has labels up to {max(tops)} but {classes} class_names")
    if classes > len(arrays["val_labels"]):
        source = "largest label" if names is None else "class_names"
        raise UserError(
            f"{path} has {classes} classes, by its {source}, but {len(arrays['val_labels'])} clean rows; "
            "every class needs one at least"
        )
    for name, rows in (
        ("labels", "features"),
        ("true_labels", "features"),
        ("val_labels", "val_features"),
        ("val_given_labels", "val_features"),
        ("val_random", "val_features"),
        ("test_labels", "test_features"),
    ):
        if name in arrays and len(arrays[name]) != len(arrays[rows]):
            raise UserError(
                f"{name} in {path} has {len(arrays[name])} rows but {rows} has {len(arrays[rows])}"
            )

    def optional(name):
        return arrays[name].astype(np.int32) if name in arrays else None

    return Dataset(
        inputs=arrays["features"],
        labels=optional("true_labels"),
        test_inputs=arrays.get("test_features"),
        test_labels=optional("test_labels"),
        class_names=tuple(map(str, range(classes) if names is None else names)),
        given_labels=optional("labels"),
        val_inputs=arrays["val_features"],
        val_labels=optional("val_labels"),
        val_given_labels=optional("val_given_labels"),
        val_random=_flags(path, arrays, "val_random") if "val_random" in arrays else None,
    )


def _features(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    array = arrays[name]
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        raise UserError(
            f"{name} in {path} must be a floating-point matrix [rows, features], got {array.dtype} "
            f"{array.shape}"
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise UserError(
            f"{name} in {path} holds NaN or infinity in row {int(np.argmax(bad))} ({int(bad.sum())} such "
            "rows); remove those rows or repair the features"
        )
    return array


def _labels(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    array = arrays[name]
    if array.ndim == 2 and array.size:
        array = label_notation.flat(f"{name} in {path}", array)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.floor(array)).all():
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise UserError(
            f"{name} in {path} must be integer class indices [rows], got {array.dtype} {array.shape}; make "
            "them of names with numpy.unique(names, return_inverse=True), and give class_names"
        )
    arrays[name] = array
    least, otherwise = (-1, ", and -1 is an unknown label") if name == "val_given_labels" else (0, "")
    if array.min() < least:
        row = int(np.argmax(array < least))
        raise UserError(f"{name}[{row}] in {path} is {array[row]}; classes are counted from 0{otherwise}")
    return array


def _flags(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise UserError(
            f"{name} in {path} must be True or False for each clean row, got {array.dtype} {array.shape}"
        )
    return array.astype(bool)
