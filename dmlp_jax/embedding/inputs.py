"""Reads what users call texts and images: lists, arrays, files, columns of data frames and of data sets."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dmlp_jax.data.images.decode import decode_all, whole
from dmlp_jax.data.images.lazy import ImageFiles
from dmlp_jax.errors import UserError

# From this number of files on, worker processes decode them: fewer are done before the workers have started.
MANY = 1_000
# Libraries that define the columns and data sets below, whose types are known by the names of their modules.
_TABLES = {"pandas": "DataFrame", "polars": "DataFrame", "datasets": "Dataset"}


class Texts(NamedTuple):
    """Texts [n]; a missing one is ''."""

    rows: tuple[str, ...]

    def part(self, start: int, stop: int) -> "Texts":
        """Rows from `start` to before `stop`."""
        return Texts(self.rows[start:stop])

    def digest(self) -> str:
        """Hash of the texts."""
        digest = hashlib.sha256(b"texts")
        for text in self.rows:
            stored = text.encode("utf-8", "surrogatepass")
            digest.update(len(stored).to_bytes(8, "little") + stored)
        return digest.hexdigest()


class Pictures(NamedTuple):
    """Images [n]: paths of files, Pillow images, or arrays [h, w] or [h, w, channels] of uint8."""

    rows: Sequence[Any]

    def part(self, start: int, stop: int) -> "Pictures":
        """Rows from `start` to before `stop`."""
        return Pictures(self.rows[start:stop])

    def squares(self, side: int) -> Any:
        """The central squares as [n, side, side, 3] uint8: an array-like that decodes what is indexed."""
        return Squares(self.rows, side)

    def whole(self, start: int, stop: int) -> list[Image.Image]:
        """The images of these rows in RGB, uncut.

        Raises:
            UserError: one cannot be decoded; the message names it.
        """
        return [_pillow(self.rows[row]) for row in range(start, min(stop, len(self.rows)))]

    def smallest_side(self) -> int:
        """The shortest side of the first 32 images, in pixels."""
        return min(min(_size(row)) for row in self.rows[:32])

    def digest(self) -> str:
        """Hash of the images' contents: of the bytes of files, of the pixels of others."""
        digest = hashlib.sha256(b"images")
        for row in self.rows:
            digest.update(_content(row))
        return digest.hexdigest()


class Squares:
    """An array-like of images [n, side, side, 3], uint8, made when it is indexed by a slice or an array."""

    def __init__(self, rows: Sequence[Any], side: int) -> None:
        """Squares of `side` pixels from `Pictures.rows`."""
        self.shape = (len(rows), side, side, 3)
        self._rows, self._side = rows, side
        all_files = bool(len(rows)) and all(isinstance(row, Path) for row in rows)
        self._files = ImageFiles([str(row) for row in rows], side) if all_files else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Decodes rows at a slice or an array of indices.

        Raises:
            UserError: one cannot be decoded; the message names it.
        """
        if self._files is not None and len(self) >= MANY:
            return self._files[index]
        chosen = [self._rows[row] for row in np.arange(len(self))[index]]
        try:
            if self._files is not None:
                return decode_all([str(row) for row in chosen], self._side)
        except ValueError as error:
            raise UserError(f"an image cannot be decoded: {error}; remove the file, or repair it") from error
        return np.stack([_square(row, self._side) for row in chosen])


def read(rows: Any, column: str | None = None) -> Texts | Pictures:
    """Texts or images, told apart by their types.

    Args:
        rows: a list, tuple, array or column of strings; of `pathlib.Path`s of image files; of Pillow images
            or arrays; an array [n, h, w] or [n, h, w, channels] of uint8; or a data frame of pandas or
            polars, or a data set of Hugging Face, with `column`.
        column: of a data frame or data set; it may be left out where only one column holds texts or images.

    Raises:
        UserError: they are none of these, or are mixed.
    """
    rows = _column(rows, column)
    if isinstance(rows, np.ndarray) and rows.ndim in (3, 4) and rows.dtype == np.uint8:
        return _pictures(rows)
    if isinstance(rows, (str, bytes, Path)):
        raise UserError(f"embed takes a list of texts or images, not one of them ({str(rows)[:60]!r})")
    if isinstance(rows, np.ndarray) and (rows.ndim != 1 or rows.dtype.kind not in "OUT"):
        raise UserError(
            "an array to embed holds texts [n], or images [n, h, w] or [n, h, w, 3] of uint8 (0 to 255); "
            f"got {rows.dtype} {rows.shape}"
        )
    rows = _listed(rows)
    if not len(rows):
        raise UserError("there is nothing to embed: no rows")
    present = [row for row in rows if not _is_missing(row)]
    if present and all(isinstance(row, str) for row in present):
        return Texts(tuple(str(row) if isinstance(row, str) else "" for row in rows))
    return _pictures(rows)


def _pictures(rows: Any) -> Pictures:
    if not len(rows):
        raise UserError("there is nothing to embed: no rows")
    for place, row in enumerate(rows):
        is_array = isinstance(row, np.ndarray) and row.dtype == np.uint8 and _is_image(row.shape)
        if not (isinstance(row, (Path, Image.Image)) or is_array):
            what = f"{row.dtype} {row.shape}" if isinstance(row, np.ndarray) else type(row).__name__
            raise UserError(
                f"row {place} is {what}; embed takes texts (str), image files (pathlib.Path), Pillow images "
                "or arrays [h, w] or [h, w, 3] of uint8, all of one kind"
            )
        if isinstance(rows, np.ndarray):
            break
    return Pictures(rows)


def _is_image(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))


def _column(rows: Any, column: str | None) -> Any:
    """A column of a data frame or data set; other rows as they are."""
    library = type(rows).__module__.split(".")[0]
    if _TABLES.get(library) != type(rows).__name__:
        if column is not None:
            raise UserError(f"column={column!r} is for data frames and data sets, not {type(rows).__name__}")
        return rows
    names = list(rows.column_names if library == "datasets" else rows.columns)
    if column is None:
        found = [name for name in names if _is_candidate(rows, name, library)]
        if len(found) != 1:
            raise UserError(
                f"name the column of texts or images with column=...; there are {', '.join(map(str, names))}"
            )
        column = found[0]
    if column not in names:
        raise UserError(f"there is no column {column!r}; there are {', '.join(map(str, names))}")
    return rows[column]


def _is_candidate(rows: Any, name: str, library: str) -> bool:
    if library == "datasets":
        kind = rows.features[name]
        return type(kind).__name__ == "Image" or getattr(kind, "dtype", None) in ("string", "large_string")
    # Object, string and categorical columns hold texts; the first row tells.
    return isinstance(rows[name][0] if library == "polars" else rows[name].iloc[0], str)


def _listed(rows: Any) -> Sequence[Any]:
    """A list of a column of any library; a column of pictures of a data set stays one, decoded row by row."""
    if type(rows).__module__.startswith("datasets"):
        first = rows[0] if len(rows) else None
        return rows[:] if first is None or isinstance(first, str) else rows
    if hasattr(rows, "to_list"):
        return rows.to_list()
    try:
        return list(rows)
    except TypeError as error:
        raise UserError(f"embed takes a list of texts or images, not {type(rows).__name__}") from error


def _is_missing(row: Any) -> bool:
    """None, NaN or pandas.NA: a text that is not there."""
    return row is None or type(row).__name__ == "NAType" or (isinstance(row, float) and row != row)


def _size(row: Any) -> tuple[int, int]:
    if isinstance(row, Path):
        try:
            with Image.open(row) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"the image {row} cannot be opened ({error}); remove it, or repair it") from error
    return row.size if isinstance(row, Image.Image) else (row.shape[1], row.shape[0])


def _pillow(row: Any) -> Image.Image:
    """An image in RGB."""
    if isinstance(row, Path):
        try:
            return whole(row)
        except Exception as error:
            # Pillow's plugins raise exceptions of any type for damaged files.
            raise UserError(f"{row} cannot be decoded ({error}); remove the file, or repair it") from error
    if isinstance(row, np.ndarray):
        row = Image.fromarray(row[..., 0] if row.ndim == 3 and row.shape[2] == 1 else row)
    return row.convert("RGB")


def _square(row: Any, side: int) -> np.ndarray:
    """The central square of an image, [side, side, 3], as `decode` makes it of a file."""
    if isinstance(row, Path):
        return decode_all([str(row)], side)[0]
    return np.asarray(ImageOps.fit(_pillow(row), (side, side), Image.Resampling.BICUBIC))


def _content(row: Any) -> bytes:
    if isinstance(row, Path):
        with open(row, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    pixels = np.asarray(row)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
