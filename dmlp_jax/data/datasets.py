"""Loads data sets by name.

`load` returns a `Dataset`. Benchmark data sets (digits, CIFAR) have true labels, from which label noise and a
clean set are drawn. The others (folder, clothing1m, npz) come with given labels and a clean set.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.sets import cifar, clothing1m, folder, image_sets, own_features
from dmlp_jax.data.types import Dataset
from dmlp_jax.errors import UserError, nearest

NAMES = ("digits", "cifar10", "cifar100", "folder", "clothing1m", "npz")
# Data sets of image files: the function that lists the files under a root folder.
LISTINGS = {"folder": folder.listing, "clothing1m": clothing1m.listing}


class Description(NamedTuple):
    """Properties of a data set that follow from its name.

    Attributes:
        brings_labels: it comes with given labels and a clean set, so no noise is added.
        has_images: its inputs are images, not features.
    """

    brings_labels: bool
    has_images: bool


def describe(name: str) -> Description:
    """The properties of the data set `name`.

    Raises:
        UserError: no such data set.
    """
    if name not in NAMES:
        raise UserError(
            f"data.name is {name!r}, which is none of {', '.join(NAMES)}{nearest(name, list(NAMES))}"
        )
    return Description(brings_labels=name in (*LISTINGS, "npz"), has_images=name != "npz")


def load(data: ConfigDict, seed: int, record: Path | None = None) -> Dataset:
    """Loads the data set that `data.name` names.

    Args:
        data: the `data` part of the configuration.
        seed: random seed for the test set of 'digits', which has no official one.
        record: file that caches the list of undecodable images, see `scan.broken`.

    Raises:
        UserError: no such data set, or its files are missing or damaged.
    """
    describe(data.name)
    if data.name == "digits":
        return _digits(data.test_share, seed)
    if data.name == "npz":
        return own_features.load(Path(data.path).expanduser() if data.path else None)
    root = Path(data.dir).expanduser()
    if data.name in LISTINGS:
        image_sets.check_size(data.image_size)
        return image_sets.load(LISTINGS[data.name](root), data, record)
    return cifar.load(data.name, root)


def check_there(data: ConfigDict) -> None:
    """Checks that the data set can be loaded, without opening image files.

    Raises:
        UserError: no such data set, or its files are missing or damaged.
    """
    if data.name in LISTINGS:
        LISTINGS[data.name](Path(data.dir).expanduser())
    else:
        load(data, 0)


def fingerprint(dataset: Dataset) -> str:
    """A checksum (CRC-32, hexadecimal) of the data set, to detect that it changed between runs.

    Image files enter by name and size, so the checksum does not depend on whether they are kept in memory.
    """
    checksum = 0
    for name, field in zip(dataset._fields, dataset._replace(names=None), strict=True):
        if name == "files" and field is not None:
            checksum = zlib.crc32(f"{name}{field}".encode(), checksum)
        elif field is not None and not (dataset.files is not None and name.endswith("inputs")):
            array = np.ascontiguousarray(field)
            checksum = zlib.crc32(f"{name}{array.dtype}{array.shape}".encode(), checksum)
            checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data, checksum)
    return f"{checksum:08x}"


def _digits(test_share: float, seed: int) -> Dataset:
    """Loads scikit-learn's copy of the UCI optical digits test set: 1,797 images, 8x8, 17 grey levels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not 0 < test_share < 1:
        raise UserError(f"data.test_share is {test_share}; it must lie between 0 and 1")
    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = raw.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=test_share, random_state=seed, stratify=labels
    )
    train, test = np.sort(train), np.sort(test)
    return Dataset(
        inputs=images[train],
        labels=labels[train],
        test_inputs=images[test],
        test_labels=labels[test],
        class_names=tuple(map(str, range(10))),
    )
