"""Lists the user's own images from class folders: root/{train,val,test}/<class>/.

The name of an image's folder is its given label. The labels in val/ must be correct. test/ is optional.
"""

import os
from pathlib import Path

import numpy as np

from dmlp_jax.data.sets.image_sets import Listing, Part
from dmlp_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def listing(root: Path) -> Listing:
    """Lists the files, sorted by name within each class; none is opened.

    Args:
        root: `data.dir`.

    Raises:
        UserError: train/ or val/ is missing, there are fewer than two classes, val/ or test/ has a class that
            train/ lacks, or a part has no images.
    """
    if not (root / "train").is_dir() or not (root / "val").is_dir():
        raise UserError(
            f"{root.resolve()} (data.dir) must hold train/<class>/ with the noisy images and "
            "val/<class>/ with the clean ones"
        )
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    if len(classes) < 2:
        raise UserError(f"{root / 'train'} has {len(classes)} class folders; at least two are needed")
    test = _part(root / "test", classes) if (root / "test").is_dir() else None
    return Listing(tuple(classes), _part(root / "train", classes), _part(root / "val", classes), test)


def _part(folder: Path, classes: list[str]) -> Part:
    unknown = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in classes)
    if unknown:
        raise UserError(f"{folder} has the class {unknown[0]!r}, which train/ does not have")
    paths, labels = [], []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        with os.scandir(folder / name) as entries:
            found = sorted(entry.path for entry in entries if entry.name.lower().endswith(SUFFIXES))
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return Part(paths, np.array(labels, np.int32))
