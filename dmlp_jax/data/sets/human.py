"""Reads the human labels of CIFAR-10N and CIFAR-100N (Wei et al. 2022) from the authors' .pt files."""

from pathlib import Path

import numpy as np

from dmlp_jax.data.sets import torch_file
from dmlp_jax.errors import UserError, nearest


def load(path: Path, column: str, true_labels: np.ndarray) -> np.ndarray:
    """Reads the human labels of the training images in the official order, [n] int32.

    Args:
        path: `noise.path`, CIFAR-10_human.pt or CIFAR-100_human.pt.
        column: `noise.column`: aggre_label, worse_label, random_label1 to 3, or noisy_label.
        true_labels: labels of the data set [n], to check that the file uses the same order.

    Raises:
        UserError: the file is missing or in another format, the column is unknown, or the file's true labels
            do not match.
    """
    columns = torch_file.read(path)
    if column not in columns or column == "clean_label":
        known = [name for name in columns if name != "clean_label"]
        raise UserError(
            f"noise.column is {column!r}; {path} holds {', '.join(known)}{nearest(column, known)}"
        )
    clean = columns.get("clean_label")
    if clean is None or not np.array_equal(np.ravel(clean), true_labels):
        raise UserError(
            f"clean_label in {path} does not match the data set's labels; it belongs to another data set, or "
            "the images are not in the official order"
        )
    found = np.ravel(columns[column])
    if found.dtype.kind not in "iu" or found.shape != np.shape(true_labels):
        raise UserError(
            f"{column} in {path} must be integers, one for each of the {len(true_labels)} images; got "
            f"{found.dtype} {found.shape}"
        )
    if found.min() < 0 or found.max() > np.max(true_labels):
        raise UserError(f"{column} in {path} holds {found.min()} to {found.max()}, classes that do not exist")
    return found.astype(np.int32)
