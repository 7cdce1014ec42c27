"""Builds a data set from lists of image files; leaves out undecodable ones, decodes or streams the others."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data.images import scan
from dmlp_jax.data.images.account import Account
from dmlp_jax.data.images.lazy import ImageFiles
from dmlp_jax.data.types import Dataset
from dmlp_jax.errors import UserError


class Part(NamedTuple):
    """The image files of one part (train, val or test) and their labels.

    Attributes:
        paths: the files [n].
        labels: class indices [n], int32.
        given: of clean images, the labels of the noisy source [n], int32, -1 where unknown; None if all are.
    """

    paths: list[str]
    labels: np.ndarray
    given: np.ndarray | None = None


class Listing(NamedTuple):
    """The files and labels of a data set of images, none of which has been opened.

    Attributes:
        class_names: one per class.
        train: the noisy images with their given labels.
        val: the clean images with their true labels.
        test: the test images with their labels; None without a test set.
        account: which files are used and which are not; None where lists of files say that.
    """

    class_names: tuple[str, ...]
    train: Part
    val: Part
    test: Part | None
    account: Account | None = None

    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in every.items() if part is not None}


def load(listing: Listing, data: ConfigDict, record: Path | None) -> Dataset:
    """Builds the data set of a listing.

    Undecodable files are left out. If the pixels exceed `data.memory_gb`, images are decoded on demand.

    Args:
        listing: the files and their labels.
        data: the `data` settings.
        record: file that caches the list of undecodable images, see `scan.broken`.

    Raises:
        UserError: too many files cannot be decoded, a part has none left, or `data.image_size` is too small.
    """
    check_size(data.image_size)
    for line in listing.account.lines() if listing.account else ():
        print(line, flush=True)
    paths = [path for part in listing.parts().values() for path in part.paths]
    found = scan.broken(paths, data.workers, record)
    if found:
        scan.refuse_many(found, len(paths), data.max_broken)
        print(f"left out {len(found):,} of {len(paths):,} images, which cannot be decoded", flush=True)
        if record:
            print(f"they are listed in {record}", flush=True)
    gigabytes = len(paths) * 3 * data.image_size**2 / 1e9
    stream = gigabytes > data.memory_gb
    if stream:
        print(
            f"{gigabytes:,.2f} GB of pixels are more than data.memory_gb ({data.memory_gb:g}): images are "
            "decoded anew whenever they are needed",
            flush=True,
        )
    arrays, checksum = {}, 0
    for name, part in listing.parts().items():
        kept = scan.keep(part.paths, found)
        if not kept.any():
            raise UserError(f"none of the images of the part {name!r} can be decoded")
        images = ImageFiles(np.array(part.paths)[kept], data.image_size, data.workers)
        checksum = zlib.crc32(f"{name}{images.checksum()}".encode(), checksum)
        arrays[name] = (images if stream else images[:], part.labels[kept])
    test_inputs, test_labels = arrays.get("test", (None, None))
    return Dataset(
        inputs=arrays["train"][0],
        labels=None,
        test_inputs=test_inputs,
        test_labels=test_labels,
        class_names=listing.class_names,
        given_labels=arrays["train"][1],
        val_inputs=arrays["val"][0],
        val_labels=arrays["val"][1],
        val_given_labels=_given_of_clean(listing.val, found),
        files=checksum,
        names=np.array(listing.train.paths)[scan.keep(listing.train.paths, found)],
    )


def _given_of_clean(part: Part, broken: dict[str, str]) -> np.ndarray | None:
    """The noisy labels of the clean images that can be decoded, or None."""
    return None if part.given is None else part.given[scan.keep(part.paths, broken)]


def check_size(size: int) -> None:
    """Raises a UserError if the side length `size` is less than 8 pixels."""
    if size < 8:
        raise UserError(f"data.image_size is {size}; give the side length to resize to, at least 8")
