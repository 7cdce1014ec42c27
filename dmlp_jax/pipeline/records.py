"""Reads and writes stages.json: the settings, state and file checksums of each stage of a run."""

from pathlib import Path
from typing import Any

from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

# Keys of every stage's record; a stage may add others.
COMMON = {"settings": dict, "complete": bool, "sha256": dict}


class Records:
    """The records of a workdir; each has 'settings', 'complete', 'sha256' and keys that the stage adds.

    Args:
        path: stages.json, which need not exist.
    """

    def __init__(self, path: Path):
        self._path = path
        self._verified: dict[Path, tuple[str, int, int]] = {}

    def read(self) -> dict[str, Any]:
        """All records by stage; empty if there are none.

        Raises:
            UserError: the file is damaged.
        """
        if not self._path.exists():
            return {}
        records = files.load_json(self._path)
        well_formed = isinstance(records, dict) and all(map(_is_record, records.values()))
        if not well_formed:
            raise UserError(f"{self._path} is damaged; delete it, and the same command runs every stage anew")
        # Records of earlier versions have no checksums.
        return {stage: {"sha256": {}, **record} for stage, record in records.items()}

    def write(self, stage: str, record: dict[str, Any]) -> None:
        """Replaces the record of a stage."""
        files.save_json(self._path, {**self.read(), stage: record})

    def is_whole(self, path: Path, digest: str) -> bool:
        """Whether the file exists with the recorded checksum; the file is read again only if it has changed.

        Raises:
            UserError: it has another checksum, or cannot be read.
        """
        try:
            status = path.stat()
            state = (digest, status.st_mtime_ns, status.st_size)
            if self._verified.get(path) != state and files.sha256(path) != digest:
                raise UserError(
                    f"{path} is damaged: its SHA-256 is not {digest}, which {self._path.name} has for it; "
                    "delete it, and the command that made it makes it anew"
                )
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        self._verified[path] = state
        return True


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key, {} if key == "sha256" else None), kind) for key, kind in COMMON.items()
    )
