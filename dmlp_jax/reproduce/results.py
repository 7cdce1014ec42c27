"""What was found for the cells of a table, in a file that several calls may add to at the same time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dmlp_jax.storage import files, lock

# By the cell's name and the seed, results of `runner.run`.
Results = dict[str, dict[str, dict[str, Any]]]
# Seconds to wait for another call that is just writing.
_PATIENCE = 60.0


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Makes this call the only one that writes what belongs to the results in `path` while the block runs.

    Raises:
        UserError: another one holds the lock for a minute, or the folder cannot be written to.
    """
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock.hold(path.with_name(f".{path.stem}.lock"), _PATIENCE):
        yield


def load(path: Path) -> Results:
    """The results in `path`, none if it is not there.

    Raises:
        UserError: the file is damaged.
    """
    return files.load_json(path) if path.exists() else {}


def add(path: Path, name: str, seed: int, result: dict[str, Any]) -> None:
    """Adds the result of a cell to those in `path`, whatever other calls have added meanwhile.

    Raises:
        UserError: the file is damaged or cannot be written.
    """
    with alone(path):
        found = load(path)
        found.setdefault(name, {})[str(seed)] = result
        files.save_json(path, found)
