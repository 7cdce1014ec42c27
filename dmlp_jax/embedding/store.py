"""Keeps embeddings in a folder, where the same rows and encoder find them again.

    FOLDER/KEY/encoder.npz      the fitted encoder, or what identifies that of a library
    FOLDER/KEY/part_00000.npy   rows so far; a run that was killed goes on after the last part
    FOLDER/KEY/features.npy     all rows; written last, and then the parts are removed

KEY is a hash of the rows' contents, the encoder's name and its version.
"""

import contextlib
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.embedding import encoders, libraries
from dmlp_jax.embedding.encoders import Encoder, Progress
from dmlp_jax.embedding.inputs import Pictures, Texts
from dmlp_jax.storage import files

# Rows of a part: bounds what a killed run loses and what is in memory.
PART = 4_096
FEATURES, ENCODER = "features.npy", "encoder.npz"


def key_of(rows: Texts | Pictures, name: str, fitted_on: str = "") -> str:
    """Hash of the rows and of the encoder, 16 hex digits.

    Args:
        rows: texts or images.
        name: of the encoder.
        fitted_on: key of the rows that a built-in encoder learned from, where these are others.
    """
    identity = json.dumps([libraries.identity(name), encoders.VERSION, fitted_on, rows.digest()])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def find(folder: Path, key: str) -> Path | None:
    """The file of embeddings [n, d], float32, with this key; None where it was not made."""
    path = folder / key / FEATURES
    return path if path.is_file() else None


def make(folder: Path, key: str, rows: Texts | Pictures, encoder: Encoder, progress: Progress) -> Path:
    """Computes embeddings part by part; parts of a run that was killed are not computed again.

    Args:
        folder: of the embeddings.
        key: see `key_of`.
        rows: texts or images.
        encoder: as `fit` gave it, or as it was loaded.
        progress: called with the number of rows done.

    Returns:
        The file of embeddings [n, d], float32.

    Raises:
        UserError: the folder cannot be written to.
    """
    place = folder / key
    files.remove_temporary(place)
    if not (place / ENCODER).is_file():
        encoders.save(place / ENCODER, encoder)
    paths = []
    for number, start in enumerate(range(0, len(rows.rows), PART)):
        paths.append(place / f"part_{number:05}.npy")
        if not paths[-1].is_file():
            features = encoder.encode(rows.part(start, start + PART), partial(_shifted, progress, start))
            _save(paths[-1], [features])
        progress(min(start + PART, len(rows.rows)))
    _save(place / FEATURES, paths)
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
    return place / FEATURES


def load_encoder(folder: Path, key: str) -> Encoder | None:
    """The built-in encoder that was kept with embeddings; None where there is none."""
    path = folder / key / ENCODER
    return encoders.load_built_in(*encoders.read_record(path)) if path.is_file() else None


def weights_of(folder: Path, key: str) -> str:
    """Hash of the weights of the library's model that made embeddings; '' for other encoders."""
    return encoders.read_record(folder / key / ENCODER)[0].get("weights", "")


def _shifted(progress: Progress, before: int, done: int) -> None:
    progress(before + done)


def _save(path: Path, parts: list[Any]) -> None:
    """Writes matrices, or those in files, below each other into one .npy file, one at a time in memory."""

    def opened(part):
        return part if isinstance(part, np.ndarray) else np.lib.format.open_memmap(part, mode="r")

    shapes = [opened(part).shape for part in parts]
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (sum(shape[0] for shape in shapes), shapes[0][1]),
    }
    with files.atomic_writer(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(opened(part), np.float32).tobytes())
