"""Lists the user's own images from class folders: root/{train,val,test}/<class>/.

The name of an image's folder is its given label; folders inside it belong to the same class. The labels in
val/ must be correct. test/ is optional.
"""

from pathlib import Path

import numpy as np

from dmlp_jax.data import class_names
from dmlp_jax.data.images import found
from dmlp_jax.data.images.account import Account
from dmlp_jax.data.images.found import SUFFIXES
from dmlp_jax.data.sets.image_sets import Listing, Part
from dmlp_jax.errors import UserError, nearest

_PARTS = ("train", "val", "test")


def listing(root: Path) -> Listing:
    """Lists the files, sorted by path within each class, and accounts for the others; none is opened.

    Args:
        root: `data.dir`.

    Raises:
        UserError: train/ or val/ is missing, there are fewer than two classes, val/ or test/ has a class that
            train/ lacks, a part has no images, or a folder cannot be read.
    """
    if not (root / "train").is_dir() or not (root / "val").is_dir():
        raise UserError(
            f"{root.resolve()} (data.dir) must hold train/<class>/ with the noisy images and "
            "val/<class>/ with the clean ones"
        )
    try:
        return _listing(root)
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be read: {error.strerror}") from error


def _listing(root: Path) -> Listing:
    classes = _folders(root / "train")
    if len(classes) < 2:
        raise UserError(f"{root / 'train'} has {len(classes)} class folders; at least two are needed")
    beside = [str(path) for path in sorted(root.iterdir()) if path.is_dir() and path.name not in _PARTS]
    account = Account(
        root,
        followed={},
        unknown=[],
        loose=[],
        hidden=[path for path in beside if found.is_hidden(Path(path).name)],
        beside=[path for path in beside if not found.is_hidden(Path(path).name)],
        names=class_names.near_equal(classes),
    )
    parts = [_part(root / name, classes, account) for name in _PARTS if (root / name).is_dir()]
    return Listing(tuple(classes), parts[0], parts[1], parts[2] if len(parts) > 2 else None, account)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not found.is_hidden(path.name))


def _part(folder: Path, classes: list[str], account: Account) -> Part:
    """The images of a part; its other files are added to the lists of `account`."""
    for name in _folders(folder):
        if name not in classes:
            raise UserError(
                f"{folder} has the class {name!r}, which train/ does not have{nearest(name, classes)}"
            )
    for path in sorted(folder.iterdir()):
        if found.is_hidden(path.name):
            account.hidden.append(str(path))
        elif not path.is_dir():
            (account.loose if found.is_image(path.name) else account.unknown).append(str(path))
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        inside = found.walk(folder / name)
        account.unknown.extend(inside.unknown)
        account.hidden.extend(inside.hidden)
        account.followed.update(inside.followed(folder / name))
        paths += inside.images
        labels += [label] * len(inside.images)
    if not paths:
        raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return Part(paths, np.array(labels, np.int32))
