"""Reads and writes the objects under an address such as gs://bucket/run, through fsspec.

Writes are atomic; buckets have no renaming, appending or locking. fsspec is imported only in this module.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

# Timeout of one request, in seconds; a large file is sent in many requests.
_SECONDS = 300


class VanishedError(Exception):
    """A file was deleted between its listing and its download."""


class Bucket:
    """The files under an address, by their names relative to it.

    If the address cannot be reached, fsspec raises exceptions of many types; methods let them through.

    Args:
        address: any that fsspec supports, such as gs://bucket/run.

    Raises:
        UserError: fsspec does not support such addresses, or the package for them is not installed.
    """

    def __init__(self, address: str):
        self._system, self._root = _connect(address)
        self.address = address.rstrip("/")

    def names(self) -> list[str]:
        """Names of all files, except those that would lead out of a local folder, such as '../x'."""
        prefix = f"{self._root}/"
        found = self._system.find(self._root)
        names = [path.removeprefix(prefix) for path in found if path.startswith(prefix)]
        return [name for name in names if _is_inside(name)]

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""
        try:
            return self._system.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file's content."""
        self._system.pipe_file(f"{self._root}/{name}", content)

    def delete(self, name: str) -> None:
        """Deletes a file if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")

    def upload(self, path: Path, name: str) -> bool:
        """Uploads the local file `path`; returns False if it no longer exists."""
        try:
            self._system.put_file(str(path), f"{self._root}/{name}")
        except FileNotFoundError:
            if path.exists():
                raise
            return False
        return True

    def download(self, name: str, path: Path) -> None:
        """Downloads a file to `path` atomically; creates its folder if absent.

        Raises:
            VanishedError: the file is no longer in the bucket.
            UserError: the folder cannot be written to.
        """
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                self._system.get_file(f"{self._root}/{name}", str(temporary))
            except FileNotFoundError as error:
                raise VanishedError(f"{name} was deleted meanwhile") from error
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def patiently(act: Callable[[], object], delays: Iterable[float], address: str, folder: Path) -> None:
    """Calls `act`, and retries after a delay if the address cannot be reached.

    A FileNotFoundError is retried only once, because waiting does not help if the bucket does not exist.

    Args:
        act: safe to call again after it failed.
        delays: seconds to wait before each retry.
        address: for messages.
        folder: the local folder with the run's files, for messages.

    Raises:
        UserError: the last attempt failed, or `act` raised one.
    """
    absent = 0
    for delay in (*delays, None):
        try:
            act()
            return
        except UserError:
            raise
        except Exception as error:
            absent += isinstance(error, FileNotFoundError)
            if delay is None or absent == 2:
                raise UserError(
                    f"cannot reach {address} ({in_words(error)}); see to the network, the bucket, your "
                    f"rights to it. What was made is in {folder}; the same command here goes on from it"
                ) from error
            print(f"note: {address}: {in_words(error)}; the next attempt in {delay:.0f} s", flush=True)
            time.sleep(delay)


def in_words(error: BaseException) -> str:
    """Describes an exception in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__


def _connect(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme, _, place = address.partition("://")
    if not place:
        raise UserError(f"{address} names no bucket; an address is such as gs://bucket/run")
    google = scheme in ("gs", "gcs")
    library = "gcsfs" if google else "fsspec"
    # Without a timeout, a stalled connection would block for ever.
    limits = {"requests_timeout": _SECONDS} if google else {}
    try:
        import fsspec
    except ImportError as error:
        raise UserError(f"{address} needs a package more: pip install {library}") from error
    try:
        system, root = fsspec.core.url_to_fs(address, use_listings_cache=False, **limits)
    except ImportError as error:
        remedy = f"pip install {library}" if google else error
        raise UserError(f"{address} needs a package more: {remedy}") from error
    except ValueError as error:
        raise UserError(f"{address} is no address that fsspec knows ({error})") from error
    if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
        raise UserError(f"{address} is a folder: name it without {scheme}://")
    return system, root


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not name.endswith("/") and not path.is_absolute() and ".." not in path.parts
