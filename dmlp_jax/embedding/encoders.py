"""Defines what an encoder is, and saves and loads fitted ones: npz files of plain arrays, no pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dmlp_jax.embedding import patches, text
from dmlp_jax.embedding.inputs import Pictures, Texts
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.storage import files

BUILT_IN = {"texts": text.NAME, "images": patches.NAME}
# Side in pixels to which the built-in encoder of images reduces them; smaller ones keep their own.
SIDE = 32
SMALLEST = 8
# Raised when a built-in encoder gives other embeddings than before.
VERSION = 1
Progress = Callable[[int], None]


class Encoder(Protocol):
    """What `fit` returns.

    Attributes:
        name: such as 'tfidf' or 'timm:resnet18'.
    """

    name: str

    def encode(self, rows: Texts | Pictures, progress: Progress = ...) -> np.ndarray:
        """Embeddings [n, d], float32."""
        ...

    def record(self) -> dict[str, Any]:
        """What identifies the encoder, as JSON: name, version of the library, hash of the weights."""
        ...


class BuiltIn:
    """An encoder that learned on the data itself: its settings are arrays.

    Attributes:
        name: one of `BUILT_IN`.
        fitted: the numerics.
    """

    def __init__(self, name: str, fitted: text.TextEncoder | patches.ImageEncoder) -> None:
        """An encoder of this name from its numerics."""
        self.name, self.fitted = name, fitted

    def encode(self, rows: Texts | Pictures, progress: Progress = lambda done: None) -> np.ndarray:
        """Embeddings [n, d], float32.

        Raises:
            UserError: these are texts and it encodes images, or the other way round.
        """
        if isinstance(self.fitted, text.TextEncoder):
            if not isinstance(rows, Texts):
                raise UserError(f"the encoder {self.name!r} encodes texts, but these are images")
            return self.fitted.encode(rows.rows, progress)
        if not isinstance(rows, Pictures):
            raise UserError(f"the encoder {self.name!r} encodes images, but these are texts")
        return self.fitted.encode(rows.squares(self.fitted.side), progress)

    def record(self) -> dict[str, Any]:
        """Name and version."""
        return {"name": self.name, "version": VERSION}


def fit_built_in(name: str, rows: Texts | Pictures) -> BuiltIn:
    """Learns a built-in encoder from rows.

    Raises:
        UserError: there is no such encoder, or it is for the other kind of rows.
    """
    kind = "texts" if isinstance(rows, Texts) else "images"
    if name not in BUILT_IN.values():
        raise UserError(
            f"no encoder is called {name!r}{nearest(name, list(BUILT_IN.values()))}; built in are "
            f"{', '.join(BUILT_IN.values())}, others are 'library:model' or 'module:function'"
        )
    if name != BUILT_IN[kind]:
        raise UserError(f"the encoder {name!r} is not for {kind}; use {BUILT_IN[kind]!r}")
    if isinstance(rows, Texts):
        return BuiltIn(name, text.fit(rows.rows))
    side = min(SIDE, max(SMALLEST, rows.smallest_side()))
    return BuiltIn(name, patches.fit(rows.squares(side)))


def save(path: Path, encoder: Encoder) -> None:
    """Writes a fitted encoder: its arrays, or of a library's what identifies it."""
    arrays = encoder.fitted.arrays() if isinstance(encoder, BuiltIn) else {}
    record = json.dumps(encoder.record()).encode()
    files.save_npz(path, {**arrays, "record": np.frombuffer(record, np.uint8)})


def read_record(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `save` wrote: what identifies the encoder, and the arrays of a built-in one.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays = files.load_npz(path, ("record",))
    try:
        return json.loads(arrays.pop("record").tobytes()), arrays
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it to have it made anew") from error


def load_built_in(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> BuiltIn:
    """A built-in encoder from what `read_record` found."""
    if record.get("version") != VERSION:
        raise UserError(
            f"the encoder {record['name']!r} was learned by another version of dmlp_jax; embed the data anew"
        )
    readers: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
        text.NAME: text.from_arrays,
        patches.NAME: patches.from_arrays,
    }
    return BuiltIn(record["name"], readers[record["name"]](arrays))
