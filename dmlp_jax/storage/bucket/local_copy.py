"""Manages the local copy of a workdir in a bucket and the record of its synchronised files."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dmlp_jax.storage import files

# The record of the last synchronisation: {"token": ..., "files": {name: [version, modification time, size]}}.
RECORD = ".mirror.json"


class Known(NamedTuple):
    """State of a synchronised file.

    Attributes:
        version: its version in the bucket.
        changed: modification time of the local file, ns.
        size: size of the local file, bytes.
    """

    version: str
    changed: int
    size: int


def folder_of(address: str, rank: int = 0) -> Path:
    """Local folder for the workdir `address`, under $XDG_CACHE_HOME, by default ~/.cache.

    Args:
        address: for example gs://bucket/run.
        rank: rank of the process; each process has its own folder.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:12]
    suffix = f"-{rank}" if rank else ""
    return cache / "dmlp_jax" / "workdirs" / f"{PurePosixPath(address).name}-{digest}{suffix}"


class LocalCopy:
    """The local folder of a workdir in a bucket.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def recall(self) -> tuple[str, dict[str, Known]]:
        """Reads the folder's unique token and its files as of the last synchronisation.

        Without a readable record: a new token and no files.
        """
        try:
            record = json.loads((self.folder / RECORD).read_bytes())
            return str(record["token"]), {name: Known(*entry) for name, entry in record["files"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return secrets.token_hex(16), {}

    def remember(self, token: str, known: dict[str, Known]) -> None:
        """Writes the record that `recall` reads."""
        files.save_json(self.folder / RECORD, {"token": token, "files": known})

    def scan(self) -> dict[str, tuple[int, int]]:
        """Modification time (ns) and size (bytes) of every file that belongs to the run, by name.

        Raises:
            OSError: a folder cannot be read. Ignoring it would make its files look deleted.
        """
        found = {}
        for place, _, names in os.walk(self.folder, onerror=_refuse):
            for path in (Path(place) / name for name in names):
                name = path.relative_to(self.folder).as_posix()
                if is_kept(name):
                    with contextlib.suppress(FileNotFoundError):
                        status = path.stat()
                        found[name] = (status.st_mtime_ns, status.st_size)
        return found

    def remove_temporary(self) -> None:
        """Removes temporary files left by killed processes."""
        for place, _, _ in os.walk(self.folder):
            files.remove_temporary(Path(place))

    def delete(self, names: Iterable[str]) -> None:
        """Deletes files, and folders that become empty, since an empty one may look like a checkpoint."""
        for name in names:
            path = self.folder / name
            path.unlink(missing_ok=True)
            for parent in path.relative_to(self.folder).parents[:-1]:
                with contextlib.suppress(OSError):
                    (self.folder / parent).rmdir()


def is_kept(name: str) -> bool:
    """Whether a file of this name is synchronised: all are, except temporary files, locks and the record."""
    path = PurePosixPath(name)
    temporary = path.name.startswith(".") and path.name.endswith(".tmp")
    own = path.name in (RECORD, ".lock", ".writable")
    return not (temporary or own or any("orbax-checkpoint-tmp" in part for part in path.parts))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
