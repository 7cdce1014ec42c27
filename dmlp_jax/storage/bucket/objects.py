"""The objects under an address such as gs://bucket/run, through fsspec, which is imported here only.

Objects appear whole or not at all; there is no renaming, no appending and no locking.
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

# For one request; a large file is sent in many.
_SECONDS = 300


class VanishedError(Exception):
    """A file was deleted between its listing and its download."""


class Bucket:
    """Files at an address, by names relative to it.

    What fsspec raises when the address cannot be reached is anything, and passes through.

    Args:
        address: any that fsspec knows, such as gs://bucket/run.

    Raises:
        UserError: no such kind of address, or the package for it is not installed.
    """

    def __init__(self, address: str):
        self._system, self._root = _connect(address)
        self.address = address.rstrip("/")

    def names(self) -> list[str]:
        """All files. A name may be anything there; those that lead out of a folder here are left out."""
        prefix = f"{self._root}/"
        found = self._system.find(self._root)
        names = [path.removeprefix(prefix) for path in found if path.startswith(prefix)]
        return [name for name in names if _is_inside(name)]

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is no such file."""
        try:
            return self._system.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file's content."""
        self._system.pipe_file(f"{self._root}/{name}", content)

    def delete(self, name: str) -> None:
        """Deletes a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")

    def upload(self, path: Path, name: str) -> bool:
        """Sends the file `path`; False where it is no longer there."""
        try:
            self._system.put_file(str(path), f"{self._root}/{name}")
        except FileNotFoundError:
            if path.exists():
                raise
            return False
        return True

    def download(self, name: str, path: Path) -> None:
        """Fetches a file to `path`, whole or not at all; its folder is made if absent.

        Raises:
            VanishedError: it is not there.
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
    """Does what needs an address, again after a while if that cannot be reached.

    What is not there is asked for once more only: a bucket that does not exist will not come by waiting.

    Args:
        act: may be called again after it failed.
        delays: seconds before each new attempt.
        address: for messages.
        folder: on this machine, where the run's files are.

    Raises:
        UserError: the last attempt failed too, or `act` raised one.
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
    """What went wrong, in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__


def _connect(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme, _, place = address.partition("://")
    if not place:
        raise UserError(f"{address} names no bucket; an address is such as gs://bucket/run")
    google = scheme in ("gs", "gcs")
    library = "gcsfs" if google else "fsspec"
    # Without a limit a connection that falls silent would be waited for without end.
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
