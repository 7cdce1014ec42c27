"""Lists the images of a folder and their given labels: class folders, or a flat folder with a table."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import own_table, tables
from dmlp_jax.cli.inputs.own_table import OwnTable
from dmlp_jax.data.images import decode, found
from dmlp_jax.data.images.found import SUFFIXES
from dmlp_jax.errors import UserError

# A larger share of images that cannot be decoded is a mistake rather than bad luck.
MOST_BROKEN = 0.1


class ImageFolder(NamedTuple):
    """The images of a folder.

    Attributes:
        paths: their files [n].
        names: relative to the folder, such as 'ship/img_17.png', [n] strings.
        labels: given labels [n] strings; None for a flat folder without a table.
        table: the user's table of names and labels, in whose order the images are; or None.
        unreadable: why each image that cannot be decoded cannot be, by its row.
        said: sentences about files that are not used.
    """

    paths: list[Path]
    names: np.ndarray
    labels: np.ndarray | None
    table: OwnTable | None
    unreadable: dict[int, str]
    said: tuple[str, ...]


def read(folder: Path, labels: Path | None, label_column: str | None, id_column: str | None) -> ImageFolder:
    """Lists the images; every file is decoded once, to see whether it can be.

    Args:
        folder: with class folders, in which sub-folders are followed; or with images in any place.
        labels: table of names and labels, for the second case.
        label_column: its column of labels, 'label' by default.
        id_column: its column of names, relative to the folder, with or without suffix; by default the first
            that names images of the folder.

    Raises:
        UserError: the folder cannot be read or holds no images, the table does not fit it, or more than a
            tenth of the images cannot be decoded.
    """
    images, said = _images(folder)
    given: np.ndarray | None
    table: OwnTable | None = None
    if labels is not None:
        table = own_table.read(labels) if tables.is_table(labels) else None
        if table is None:
            raise UserError(
                f"{labels}: the labels of the images in {folder} must be a table of their names and labels "
                f"({', '.join(tables.SUFFIXES)}), so that each label is of one image"
            )
        paths, left = _of_table(folder, images, table, id_column)
        given = table.texts(label_column or tables.LABEL_COLUMN, "the labels")
        if left:
            said.append(f"{left:,} images of {folder} are not named in {labels} and are left out")
    else:
        paths, given = _of_class_folders(folder, images, said)
    names = np.array([path.relative_to(folder).as_posix() for path in paths], dtype=object)
    unreadable = _unreadable(paths)
    if len(unreadable) > MOST_BROKEN * len(paths):
        row, reason = next(iter(unreadable.items()))
        raise UserError(
            f"{len(unreadable):,} of {len(paths):,} images in {folder} cannot be decoded, the first of them "
            f"{names[row]} ({reason}); repair or remove them"
        )
    return ImageFolder(paths, names, given, table, unreadable, tuple(said))


def _images(folder: Path) -> tuple[list[Path], list[str]]:
    """All images below the folder in the order of their names, and what is said about other files."""
    try:
        files = found.walk(folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    if not files.images:
        raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    said = []
    if files.unknown:
        others = Counter(path.suffix.lower() or path.name for path in map(Path, files.unknown))
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(4))
        said.append(f"{others.total():,} files of {folder} are no images and are not used: {kinds}")
    if files.hidden:
        said.append(f"{len(files.hidden):,} hidden files and folders of {folder} are not used")
    return sorted(map(Path, files.images)), said


def _of_class_folders(
    folder: Path, images: list[Path], said: list[str]
) -> tuple[list[Path], np.ndarray | None]:
    """The images in class folders and their labels."""
    inside = [path for path in images if path.parent != folder]
    if not inside:
        return images, None
    if len(inside) < len(images):
        loose = len(images) - len(inside)
        said.append(f"{loose:,} images lie in {folder} itself, in no class folder, and are not used")
    given = np.array([path.relative_to(folder).parts[0] for path in inside], dtype=object)
    classes = set(given)
    if {"train", "val"} <= classes <= {"train", "val", "test"}:
        raise UserError(
            f"{folder} holds the folders {', '.join(sorted(classes))}, which are parts of a data set and no "
            f"classes; name {folder / 'train'}, and --val-features {folder / 'val'} if the labels there are "
            "right"
        )
    return inside, given


def _of_table(
    folder: Path, images: list[Path], table: OwnTable, id_column: str | None
) -> tuple[list[Path], int]:
    """The image of each row of a table, and the number of images that it does not name."""
    known: dict[str, Path] = {}
    for path in images:
        name = path.relative_to(folder)
        known[name.as_posix()] = path
        known.setdefault(name.with_suffix("").as_posix(), path)
    columns = [id_column] if id_column else table.names
    for column in columns:
        names = table.texts(column, "the names of the images") if id_column else _texts(table, column)
        missing = [row for row, name in enumerate(names) if name not in known]
        if not missing:
            paths = [known[name] for name in names]
            twice, times = Counter(paths).most_common(1)[0]
            if times > 1:
                raise UserError(
                    f"{table.path} names {twice.relative_to(folder)} {times} times; name each once"
                )
            return paths, len(images) - len(paths)
        # A column that names most images is the one that was meant.
        if id_column or len(missing) < len(names) / 2:
            row = missing[0]
            raise UserError(
                f"{table.path}, row {row}, column {column!r}: {folder} holds no image {str(names[row])!r} "
                f"({len(missing):,} such rows); names are relative to the folder, with or without suffix"
            )
    raise UserError(
        f"no column of {table.path} names the images of {folder}, such as "
        f"{images[0].relative_to(folder).as_posix()!r}; name it with --id-column"
    )


def _texts(table: OwnTable, column: str) -> np.ndarray:
    """A column of texts; empty ones for a column that holds none."""
    try:
        return table.texts(column, "the names of the images")
    except UserError:
        return np.full(len(table.frame), "", dtype=object)


def _unreadable(paths: list[Path]) -> dict[int, str]:
    """Why images cannot be decoded, by row."""
    from dmlp_jax.data.images import scan

    names = [str(path) for path in paths]
    if len(paths) < 500:
        reasons = decode.inspect_all(names)
        return {row: reason for row, reason in enumerate(reasons) if reason}
    broken = scan.broken(names, 0)
    return {row: broken[name] for row, name in enumerate(names) if name in broken}
