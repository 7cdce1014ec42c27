"""Stores the results of a table's cells in a file to which several calls may write at the same time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dmlp_jax.storage import files, lock

# Results of `runner.run` by the cell's name and the seed.
Results = dict[str, dict[str, dict[str, Any]]]
# Seconds to wait for another call that is writing.
_PATIENCE = 60.0


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Locks the results in `path`, and files beside it, for writing while the block runs.

    Raises:
        UserError: another call holds the lock for a minute, or the folder cannot be written to.
    """
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock.hold(path.with_name(f".{path.stem}.lock"), _PATIENCE):
        yield


def load(path: Path) -> Results:
    """The results in `path`; empty if it does not exist.

    Raises:
        UserError: the file is damaged.
    """
    return files.load_json(path) if path.exists() else {}


def add(path: Path, name: str, seed: int, result: dict[str, Any]) -> None:
    """Adds the result of a cell to those in `path`, keeping results that other calls have added meanwhile.

    Raises:
        UserError: the file is damaged or cannot be written.
    """
    with alone(path):
        found = load(path)
        found.setdefault(name, {})[str(seed)] = result
        files.save_json(path, found)
