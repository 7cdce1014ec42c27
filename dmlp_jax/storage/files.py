"""Writes files atomically (temporary name, fsync, rename), and reads JSON and npz files with clear errors."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dmlp_jax.errors import UserError
from dmlp_jax.storage import npz

_FULL = "free some space there; the same command then goes on"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file exceeds the size limit there, see `ulimit -f`",
    errno.EIO: "the disk may be failing; choose a folder on another one",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError from writing `path` into a UserError that says how to mend it."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose a folder that you may write to")
        raise UserError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary binary file that replaces `path` if the block succeeds, and is deleted otherwise.

    Raises:
        UserError: the file cannot be written, for instance because the disk is full.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        # Not tempfile, which creates private files (0o600). Opening with 0o666 lets the kernel apply the
        # umask; Python can only read the umask by changing it for the whole process.
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def remove_temporary(folder: Path) -> None:
    """Removes temporary files that killed processes left in `folder`."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def sha256(path: Path) -> str:
    """The SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8; escapes what UTF-8 cannot encode, such as undecodable file names."""
    with atomic_writer(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def save_json(path: Path, value: Any) -> None:
    """Writes a JSON document to `path`, indented; raises ValueError for NaN, which is not valid JSON."""
    save_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Reads a JSON document.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); delete it to have it made anew") from error


def save_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays to `path` in NumPy's npz format, without pickle."""
    with atomic_writer(path) as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(a) for name, a in arrays.items()})


def load_npz(path: Path, required: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Reads all arrays of an npz file without unpickling; see `npz.read` for what else is refused.

    Args:
        path: the file.
        required: names of arrays that must be present.

    Raises:
        UserError: the file is missing, damaged, holds Python objects or lacks a required array.
    """
    try:
        with path.open("rb") as file:
            arrays = npz.read(file)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except Exception as error:
        # A damaged or malicious archive raises exceptions of many types.
        raise UserError(
            f"{path} cannot be read ({error}); if it is damaged or truncated, copy it again or make it anew"
        ) from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise UserError(
            f"{path} lacks the array{'s' * (len(missing) > 1)} {', '.join(missing)}; it holds "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    return arrays
