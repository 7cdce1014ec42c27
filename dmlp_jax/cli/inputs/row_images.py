"""Finds the image of each row of features, for the report."""

import re
import unicodedata
from pathlib import Path

import numpy as np

from dmlp_jax.data.images import found
from dmlp_jax.data.images.decode import picture
from dmlp_jax.data.images.found import SUFFIXES
from dmlp_jax.errors import UserError

# Longest side of a picture in the report, pixels.
SIDE = 320


def find(folder: Path, count: int, names: np.ndarray | None = None) -> list[Path]:
    """The image of each row, [count].

    Args:
        folder: the folder of the images.
        count: number of rows.
        names: file of each row's image, relative to the folder, with or without suffix; by default all images
            of the folder in the order of their names.

    Raises:
        UserError: the folder does not exist or cannot be read, the numbers of images and rows differ, or an
            order or name is ambiguous.
    """
    try:
        if not folder.is_dir():
            raise UserError(f"--images: no folder {folder}")
        beside = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"--images: {folder} cannot be read: {error.strerror}") from error
    if names is None:
        return _in_order(folder, beside, count)
    if len(names) != count:
        raise UserError(f"there are {len(names)} image names for {count} rows; give one for each row")
    known: dict[str, set[Path]] = {}
    for path in map(Path, found.walk(folder).images):
        inside = path.relative_to(folder)
        for name in (inside.as_posix(), inside.with_suffix("").as_posix()):
            known.setdefault(_spelt(name), set()).add(path)
    return [_named(folder, row, str(name), known) for row, name in enumerate(names)]


def _named(folder: Path, row: int, name: str, known: dict[str, set[Path]]) -> Path:
    paths = sorted(known.get(_spelt(name), ()))
    if not paths:
        raise UserError(
            f"--images: row {row} is {name!r}, but {folder} holds no such image; names are those of files in "
            "it, with or without suffix"
        )
    exact = [path for path in paths if path.relative_to(folder).as_posix() == name]
    if len(paths) > 1 and not exact:
        raise UserError(
            f"--images: row {row} is {name!r}, which may be {paths[0].name} or {paths[1].name}; name files "
            "with their suffix"
        )
    return (exact or paths)[0]


def _spelt(name: str) -> str:
    """A name as it is compared: macOS writes letters with accents as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def thumbnail(path: Path) -> np.ndarray | None:
    """An image [h, w, 3] uint8 of at most `SIDE` pixels a side; None where it cannot be read."""
    try:
        return picture(path, SIDE)
    except Exception:
        # Pillow's plugins raise exceptions of any type. The gallery is shown without this image rather than
        # not at all.
        return None


def _in_order(folder: Path, beside: list[Path], count: int) -> list[Path]:
    paths = [path for path in beside if found.is_image(path.name) and not found.is_hidden(path.name)]
    if len(paths) != count:
        raise UserError(
            f"{folder} holds {len(paths)} images ({', '.join(SUFFIXES)}) for {count} rows; name the image of "
            "each row with --image-names, or with --id-column"
        )
    natural = sorted(paths, key=lambda path: [(int(n), t) if n else (-1, t) for n, t in _parts(path.name)])
    for row, (one, other) in enumerate(zip(paths, natural, strict=True)):
        if one != other:
            raise UserError(
                f"the order of the images in {folder} is unclear: is {one.name} or {other.name} the image of "
                f"row {row}? Name the image of each row with --image-names"
            )
    return paths


def _parts(name: str) -> list[tuple[str, str]]:
    """Runs of digits and of other characters: 'a10.png' as ('', 'a'), ('10', ''), ('', '.png')."""
    return re.findall(r"(\d+)|(\D+)", name)
