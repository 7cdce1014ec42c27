"""Reads and writes the label files of DivideMix and C2D: JSON lists of class indices.

If the file `<data_path>/<r>_<noise_mode>.json` exists, both programs read it instead of drawing noise (the
authors' `dataloader_cifar.py`): 50,000 whole numbers in the order of CIFAR-10's training batches 1 to 5, or
of CIFAR-100's file `train`. With purified labels in that file they train on purified labels. Their rate r
must still be passed: it determines constants of the method, and the file's name.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

PROGRAMS = {"dividemix": "{:.1f}_{}.json", "c2d": "{:.2f}_{}.json"}


def label_file_name(rate: float, mode: str, program: str = "dividemix") -> str:
    """The name of a program's label file: '0.5_sym.json' (DivideMix), '0.50_sym.json' (C2D).

    Args:
        rate: the program's `--r`, in [0, 1].
        mode: the program's `--noise_mode`, 'sym' or 'asym'.
        program: 'dividemix' or 'c2d'.

    Raises:
        UserError: an unknown program.
    """
    if program not in PROGRAMS:
        raise UserError(f"program is {program!r}; it must be one of {', '.join(PROGRAMS)}")
    return PROGRAMS[program].format(rate, mode)


def write_label_json(
    path: Path | str,
    labels: np.ndarray,
    *,
    index: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> None:
    """Writes labels as a JSON list of whole numbers; the write is atomic.

    Args:
        path: the file.
        labels: class indices of the purified rows [n], for instance `result.labels`.
        index: number of each of these rows in the training set [n]; by default they are all rows, in order.
        others: labels of the whole training set [N], used for the rows that `index` does not name, such as
            the clean rows. Needed with `index`.

    Raises:
        UserError: the labels are not class indices, or the numbers of rows do not match.
    """
    labels = _class_indices("labels", labels)
    if (index is None) != (others is None):
        raise UserError("give index and others together: which rows are purified, and labels for the rest")
    if index is not None and others is not None:
        whole, index = _class_indices("others", others).copy(), np.asarray(index)
        if index.shape != labels.shape or index.dtype.kind not in "iu":
            raise UserError(
                f"index must be row numbers of shape {labels.shape}, got {index.dtype} {index.shape}"
            )
        if len(np.unique(index)) < len(index) or index.min() < 0 or index.max() >= len(whole):
            raise UserError(f"index must name {len(index)} different rows of 0 to {len(whole) - 1}")
        whole[index] = labels
        labels = whole
    files.save_text(Path(path), json.dumps(labels.tolist()))


def read_label_json(path: Path | str, count: int | None = None) -> np.ndarray:
    """Class indices [n], int32, from such a file.

    Args:
        path: the file.
        count: expected number of rows, 50,000 for CIFAR; None does not check it.

    Raises:
        UserError: the file is missing, damaged, not a flat list of class indices or of another length.
    """
    values: Any = files.load_json(Path(path))
    if not isinstance(values, list) or not values:
        raise UserError(f"{path} must hold a JSON list of class indices")
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UserError(f"{path}: entry {row} is {value!r}; it must be a class index")
    if count is not None and len(values) != count:
        raise UserError(f"{path} has {len(values)} labels for {count} rows")
    return np.asarray(values, np.int32)


def _class_indices(name: str, labels: np.ndarray) -> np.ndarray:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise UserError(f"{name} must be class indices [n], got {array.dtype} {array.shape}")
    if array.min() < 0:
        row = int(array.argmin())
        raise UserError(f"{name}[{row}] is {array[row]}; classes are counted from 0")
    return array
