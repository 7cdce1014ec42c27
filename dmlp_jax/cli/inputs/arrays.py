"""Reads matrices and lists from the user's .npy, .npz, .txt and .json files, without unpickling."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from dmlp_jax.data import label_notation
from dmlp_jax.errors import UserError

# Features above this share of the memory stay on disk, because `purify` needs several copies in memory.
MEMORY_SHARE = 0.1
# Bytes, used where the system does not report its memory.
USUAL_MEMORY = 2**33
# np.load cannot map an empty array, and mapping a file this small gains nothing.
_SMALL = 2**16
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
VECTOR_SUFFIXES = (".npy", ".txt", ".json")


def read_matrix(path: Path) -> np.ndarray:
    """The array of a .npy file; a memory map if in float32 it exceeds `MEMORY_SHARE` of the memory.

    Raises:
        UserError: the file is missing, damaged or holds Python objects.
    """
    array = _load(path, None if _size(path) < _SMALL else "r")
    if isinstance(array, np.memmap) and 4 * array.size <= MEMORY_SHARE * total_memory():
        return np.array(array)
    return array


def read_vector(path: Path) -> np.ndarray:
    """One value per row, [n]: from .npy, .txt (a line each) or .json (a list of numbers or strings).

    One-hot rows and lists of one are taken too, see `label_notation.flat`.

    Raises:
        UserError: another kind of file, or one that is missing, damaged or not flat.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return label_notation.flat(str(path), _load(path, None))
    if suffix == ".txt":
        return np.array(_read_text(path).splitlines(), dtype=np.str_)
    if suffix == ".json":
        return _read_json(path)
    raise UserError(f"{path}: unknown kind of file {path.suffix!r}; use {', '.join(VECTOR_SUFFIXES)}")


def read_row_index(path: Path, count: int) -> np.ndarray:
    """Row numbers [m] from a file of row numbers, or of a boolean for each of `count` rows.

    Raises:
        UserError: the file holds neither of the two, or names a row that does not exist, or one row twice.
    """
    values = read_vector(path)
    if values.dtype.kind == "U":
        values = _parsed_rows(path, values)
    if values.dtype.kind == "b":
        if len(values) != count:
            raise UserError(f"{path} has {len(values)} booleans for {count} rows; give one for each row")
        values = np.flatnonzero(values)
    if values.dtype.kind not in "iu" or not len(values):
        raise UserError(
            f"{path} must hold row numbers, or a boolean for each of the {count} rows, and name at least one "
            f"row; got {len(values)} of type {values.dtype}"
        )
    bad = (values < 0) | (values >= count)
    if bad.any():
        place = int(bad.argmax())
        raise UserError(f"{path}: entry {place} is row {values[place]}, but the rows are 0 to {count - 1}")
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) < len(values):
        raise UserError(
            f"{path} names row {unique[counts.argmax()]} {counts.max()} times; name each row once"
        )
    return values.astype(np.int64)


def read_flags(path: Path, count: int) -> np.ndarray:
    """Booleans [count] from a file that has True or False, or 1 or 0, for each of `count` clean rows.

    Raises:
        UserError: the file holds anything else.
    """
    values = read_vector(path)
    if values.dtype.kind == "U":
        values = _parsed_rows(path, values)
    if values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all() or len(values) != count:
        raise UserError(
            f"{path} must hold True or False for each of the {count} clean rows; got {len(values)} of type "
            f"{values.dtype}{_first_other(values)}"
        )
    return values.astype(bool)


def _first_other(values: np.ndarray) -> str:
    """Names the first value that is neither 0 nor 1; empty if there is none."""
    other = ~np.isin(values, (0, 1))
    return f", of which entry {int(other.argmax())} is {values[other.argmax()]}" if other.any() else ""


def _parsed_rows(path: Path, texts: np.ndarray) -> np.ndarray:
    """Row numbers or booleans from lines of text."""
    words = np.strings.lower(np.strings.strip(texts))
    if len(words) and np.isin(words, ("true", "false")).all():
        return words == "true"
    try:
        numbers = texts.astype(np.float64)
        # numpy.savetxt writes 7.000000000000000000e+00.
        if (np.abs(numbers) < 2**53).all() and (numbers == np.floor(numbers)).all():
            return numbers.astype(np.int64)
        return texts.astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} must hold row numbers, or True or False for each row ({error})") from error


def total_memory() -> int:
    """Bytes of memory that this process may use: of the machine, or of its control group if that is less."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        limits = [USUAL_MEMORY]
    for name in _CGROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):
            # No such control group, or 'max'.
            continue
    return min(limits)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _load(path: Path, mmap_mode: str | None) -> np.ndarray:
    try:
        # Finds a header that announces more data than the file has, before memory is allocated.
        mapped = np.lib.format.open_memmap(path, mode=mmap_mode or "r")
        return mapped if mmap_mode else np.array(mapped)
    except (OSError, ValueError, OverflowError, EOFError, MemoryError) as error:
        why = str(error)
        if zipfile.is_zipfile(path):
            why = "it is an archive of arrays; name it .npz"
        elif "Python objects" in why:
            why = "it holds Python objects; save plain numbers or numpy.str_"
        raise UserError(f"{path} cannot be read ({why})") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as text in UTF-8 ({error})") from error


def _read_json(path: Path) -> np.ndarray:
    try:
        values = json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(values, list):
        raise UserError(f"{path} must hold a flat JSON list, not {type(values).__name__}")
    if values and all(isinstance(value, list) and value for value in values):
        return label_notation.flat(str(path), _objects(values))
    for place, value in enumerate(values):
        if not isinstance(value, (bool, int, float, str)):
            raise UserError(f"{path}: entry {place} is {value!r}; it must be a number or a string")
    kinds = {type(value) for value in values}
    return np.array(values, dtype=np.str_ if str in kinds else None)


def _objects(values: list) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
