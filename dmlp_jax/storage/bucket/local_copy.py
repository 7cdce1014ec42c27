"""The folder of this machine in which a run on a bucket works, and what is known of its files."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dmlp_jax.storage import files

# In the folder, as of the last exchange: {"token": ..., "files": {name: [version, time of change, size]}}.
RECORD = ".mirror.json"


class Known(NamedTuple):
    """What is known of a file: its version at the address, and time of change and size here."""

    version: str
    changed: int
    size: int


def folder_of(address: str, rank: int = 0) -> Path:
    """Where the workdir `address` is kept on this machine: in $XDG_CACHE_HOME, by default ~/.cache.

    Args:
        address: such as gs://bucket/run.
        rank: of the process; each has a folder of its own.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:12]
    suffix = f"-{rank}" if rank else ""
    return cache / "dmlp_jax" / "workdirs" / f"{PurePosixPath(address).name}-{digest}{suffix}"


class LocalCopy:
    """The folder.

    Args:
        folder: there already.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def recall(self) -> tuple[str, dict[str, Known]]:
        """The token that tells this folder from all others, and the files as of the last exchange."""
        try:
            record = json.loads((self.folder / RECORD).read_bytes())
            return str(record["token"]), {name: Known(*entry) for name, entry in record["files"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return secrets.token_hex(16), {}

    def remember(self, token: str, known: dict[str, Known]) -> None:
        """Records what `recall` returns."""
        files.save_json(self.folder / RECORD, {"token": token, "files": known})

    def scan(self) -> dict[str, tuple[int, int]]:
        """Time of change (ns) and size (bytes) of every file that is meant to stay, by its name.

        Raises:
            OSError: a folder cannot be read; its files must not pass for deleted.
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
        """Removes what killed writers left behind."""
        for place, _, _ in os.walk(self.folder):
            files.remove_temporary(Path(place))

    def delete(self, names: Iterable[str]) -> None:
        """Deletes files, and folders that are then empty: one of a checkpoint would pass for it."""
        for name in names:
            path = self.folder / name
            path.unlink(missing_ok=True)
            for parent in path.relative_to(self.folder).parents[:-1]:
                with contextlib.suppress(OSError):
                    (self.folder / parent).rmdir()


def is_kept(name: str) -> bool:
    """Whether a file of this name is meant to stay, and to travel."""
    path = PurePosixPath(name)
    temporary = path.name.startswith(".") and path.name.endswith(".tmp")
    own = path.name in (RECORD, ".lock", ".writable")
    return not (temporary or own or any("orbax-checkpoint-tmp" in part for part in path.parts))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
