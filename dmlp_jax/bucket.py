"""The objects under an address such as gs://bucket/run, through fsspec, which is imported here only.

Objects appear whole or not at all; there is no renaming, no appending and no locking.
"""

import contextlib
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import Any

from dmlp_jax import files
from dmlp_jax.errors import UserError


class Bucket:
    """Files at an address, by names relative to it.

    What fsspec raises when the address cannot be reached is anything, and passes through.

    Args:
        address: any that fsspec knows, such as gs://bucket/run.

    Raises:
        UserError: no such kind of address, or the package for it is not installed.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self._system, self._root = _connect(self.address)

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
        """Fetches a file to `path`, whole or not at all; its folder is made if absent."""
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._system.get_file(f"{self._root}/{name}", str(temporary))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _connect(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme = address.partition("://")[0]
    if scheme in ("file", "local"):
        raise UserError(f"{address} is a folder: name it without {scheme}://")
    extra = "dmlp_jax[gcs]" if scheme in ("gs", "gcs") else "fsspec"
    try:
        import fsspec
    except ImportError as error:
        raise UserError(f"{address} needs a package more: pip install '{extra}'") from error
    try:
        return fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        remedy = f"pip install '{extra}'" if extra != "fsspec" else error
        raise UserError(f"{address} needs a package more: {remedy}") from error
    except ValueError as error:
        raise UserError(f"{address} is no address that fsspec knows ({error})") from error


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not name.endswith("/") and not path.is_absolute() and ".." not in path.parts
