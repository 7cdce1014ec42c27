"""Encoders of other libraries, 'library:model', and the user's own, 'module:function'.

Models are loaded by `loaders`, and run in batches, on a GPU where the library sees one. Code that comes with
a model is never run. The names of models are those of the library; a folder on disk is taken where there is
one.
"""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.embedding import loaders
from dmlp_jax.embedding.inputs import Pictures, Texts
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.storage import files

# Rows that a model takes at a time.
BATCH = 32


class LibraryEncoder:
    """An encoder that calls a function on batches.

    Attributes:
        name: 'library:model' or 'module:function'.
    """

    def __init__(
        self, name: str, call: Callable[[list[Any]], Any], record: dict[str, Any], batch_size: int
    ) -> None:
        """An encoder of this name.

        Args:
            name: as the user wrote it.
            call: function of a list of b texts, or of Pillow images in RGB, that returns [b, d].
            record: what identifies it.
            batch_size: b, at most.
        """
        self.name = name
        self._call, self._record, self._batch_size = call, record, batch_size

    def encode(
        self, rows: Texts | Pictures, progress: Callable[[int], None] = lambda done: None
    ) -> np.ndarray:
        """Embeddings [n, d], float32.

        Raises:
            UserError: the function returns something else than a finite row of numbers for each row.
        """
        parts: list[np.ndarray] = []
        for start in range(0, len(rows.rows), self._batch_size):
            stop = min(start + self._batch_size, len(rows.rows))
            batch = list(rows.rows[start:stop]) if isinstance(rows, Texts) else rows.whole(start, stop)
            parts.append(self._checked(self._call(batch), start, len(batch)))
            if parts[-1].shape[1] != parts[0].shape[1]:
                raise UserError(
                    f"the encoder {self.name!r} gave {parts[0].shape[1]} numbers a row at first and "
                    f"{parts[-1].shape[1]} from row {start} on; it must give the same number for every row"
                )
            progress(stop)
        return np.concatenate(parts)

    def record(self) -> dict[str, Any]:
        """Name, version of the library, hash of the weights or of the module's text."""
        return self._record

    def _checked(self, found: Any, start: int, count: int) -> np.ndarray:
        try:
            found = np.asarray(found, np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(f"the encoder {self.name!r} returned no array of numbers ({error})") from error
        if found.ndim != 2 or len(found) != count or not found.shape[1]:
            raise UserError(
                f"the encoder {self.name!r} returned an array {found.shape} for {count} rows; it must return "
                "a row of numbers for each, [rows, features]"
            )
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise UserError(f"the encoder {self.name!r} gave NaN or infinity for row {row}")
        return found


def load(name: str, batch_size: int = BATCH) -> LibraryEncoder:
    """Loads an encoder.

    Args:
        name: 'library:model', with one of `loaders.LIBRARIES`; or 'module:function'.
        batch_size: rows that it takes at a time.

    Raises:
        UserError: the library is not installed, or the model, module or function is not found.
    """
    library, _, model = name.partition(":")
    if batch_size < 1:
        raise UserError(f"the batch size is {batch_size}; it must be at least 1")
    if not model:
        raise UserError(f"the encoder {name!r} names no model; write 'library:model' or 'module:function'")
    if library in loaders.LIBRARIES:
        call, weights = loaders.load(library, model)
        return LibraryEncoder(name, call, {**_version(library), "name": name, "weights": weights}, batch_size)
    function = _own(library, model, name)
    record = {"name": name, "source": _source(library)}
    return LibraryEncoder(name, function, record, batch_size)


def identity(name: str) -> list[Any]:
    """What tells an encoder from others before it is loaded: name, version, hash of its files where local."""
    library, _, model = name.partition(":")
    if library in loaders.LIBRARIES:
        return [name, _version(library), _folder_hash(Path(model)) if Path(model).is_dir() else ""]
    return [name, _source(library)] if model else [name]


def _own(module: str, function: str, name: str) -> Callable[[list[Any]], Any]:
    known = loaders.LIBRARIES
    # A file in the current folder, as with `python -c`; the console script does not look there.
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the encoder {name!r}: there is no module {error.name!r}, and no library of encoders is called "
            f"so{nearest(module, list(known))}; libraries are {', '.join(known)}"
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not callable(found):
        raise UserError(f"the encoder {name!r}: the module {module!r} has no function {function!r}")
    return found


def _source(module: str) -> str:
    """Hash of the module's file; '' where it has none that can be read."""
    found = sys.modules.get(module)
    try:
        path = Path(inspect.getfile(found)) if found else Path.cwd() / f"{module.replace('.', '/')}.py"
        return files.sha256(path)
    except (OSError, TypeError):
        return ""


def _version(library: str) -> dict[str, str]:
    try:
        return {"version": metadata.version(loaders.LIBRARIES[library].package)}
    except metadata.PackageNotFoundError:
        return {"version": ""}


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {files.sha256(path)}\n".encode())
    return digest.hexdigest()
