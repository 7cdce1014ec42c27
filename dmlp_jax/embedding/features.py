"""Embeds texts and images: the public functions."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.embedding import encoders, libraries, store
from dmlp_jax.embedding.encoders import BUILT_IN, Encoder, Progress
from dmlp_jax.embedding.inputs import Pictures, Texts, read
from dmlp_jax.errors import UserError
from dmlp_jax.training.progress import format_seconds

# Seconds between two lines of progress.
PAUSE = 10.0


def embed(
    rows: Any,
    encoder: str | None = None,
    *,
    column: str | None = None,
    folder: Path | str | None = None,
    batch_size: int = libraries.BATCH,
    progress: bool = False,
) -> np.ndarray:
    """Features of texts or images, for `purify` and `LabelPurifier`.

    Args:
        rows: texts (str), or images: `pathlib.Path`s of files, Pillow images, or arrays of uint8 ([h, w],
            [h, w, 3], all together [n, h, w, 3]). A list, an array, a column or Series; or a data frame of
            pandas or polars or a Hugging Face data set, with `column`. A missing text is an empty one.
        encoder: by default a built-in one that learns on these rows without labels: 'tfidf' for texts,
            'patches' for images. 'sentence-transformers:MODEL', 'transformers:MODEL', 'timm:MODEL' and
            'open_clip:MODEL' load a model of that library, by its name or from a local folder;
            'module:function' calls your own function on a list of texts, or of Pillow images, which returns
            [b, d].
        column: column of a data frame or data set; it may be left out where only one holds texts or images.
        folder: where embeddings are kept, and found again by content; None keeps nothing.
        batch_size: rows that a library's model takes at a time.
        progress: whether progress is printed.

    Returns:
        Features [n, d], float32.

    Raises:
        UserError: the rows are neither texts nor images, an image cannot be decoded, there is no such
            encoder, or its library is not installed; the message names the extra to install.
    """
    found = read(rows, column)
    name = encoder or default_encoder(found)
    shown: Progress = announced(found, name) if progress else _silent
    if folder is not None:
        return np.array(
            np.lib.format.open_memmap(kept(found, name, Path(folder), shown, batch_size)[0], mode="r")
        )
    return _fitted(found, name, batch_size).encode(found, shown)


def fit(
    rows: Any, encoder: str | None = None, *, column: str | None = None, batch_size: int = libraries.BATCH
) -> Encoder:
    """The encoder that `embed` uses, to embed new rows the same way; arguments as in `embed`.

    Returns:
        An encoder: `encode(dmlp_jax.embedding.inputs.read(new_rows))` gives features [m, d]. Keep it with
        `dmlp_jax.embedding.encoders.save`.
    """
    found = read(rows, column)
    return _fitted(found, encoder or default_encoder(found), batch_size)


def default_encoder(rows: Texts | Pictures) -> str:
    """The name of the built-in encoder for these rows."""
    return BUILT_IN["texts" if isinstance(rows, Texts) else "images"]


def kept(
    rows: Texts | Pictures,
    name: str,
    folder: Path,
    progress: Progress,
    batch_size: int = libraries.BATCH,
    fitted_on: str = "",
    weights: str = "",
) -> tuple[Path, str]:
    """Embeddings in a folder, computed where they are not there yet; see `store`.

    Args:
        rows: texts or images.
        name: of the encoder.
        folder: of the embeddings.
        progress: called with the number of rows done.
        batch_size: rows that a library's model takes at a time.
        fitted_on: key of the rows whose fitted encoder is used; by default these rows.
        weights: hash that the weights of a library's model must have; '' where any will do.

    Returns:
        The file of embeddings [n, d], float32, and the key of these rows.

    Raises:
        UserError: the model has other weights.
    """
    key = store.key_of(rows, name, fitted_on)
    path = store.find(folder, key)
    if path is None:
        encoder = store.load_encoder(folder, fitted_on or key) if name in BUILT_IN.values() else None
        encoder = encoder or _fitted(rows, name, batch_size)
        check_weights(name, weights, encoder.record().get("weights", ""))
        path = store.make(folder, key, rows, encoder, progress)
    else:
        check_weights(name, weights, store.weights_of(folder, key) if weights else "")
    return path, key


def announced(rows: Texts | Pictures, name: str) -> Progress:
    """A function that prints progress, at most a line in `PAUSE` seconds."""
    return _Lines(rows, name)


def _fitted(rows: Texts | Pictures, name: str, batch_size: int) -> Encoder:
    if ":" in name:
        return libraries.load(name, batch_size)
    return encoders.fit_built_in(name, rows)


def check_weights(name: str, wanted: str, found: str) -> None:
    """Refuses a model whose weights have another hash than wanted; '' where any will do.

    Raises:
        UserError: it is another model.
    """
    if wanted and found != wanted:
        raise UserError(
            f"the encoder {name!r} is another model now: the earlier rows were embedded with weights "
            f"{wanted}, these are {found or 'unknown'}. Bring the model of before back, or repeat the "
            "earlier run with this one"
        )


def _silent(done: int) -> None:
    pass


class _Lines:
    """Prints progress, at most a line in `PAUSE` seconds; loading a model does not count as time per row."""

    def __init__(self, rows: Texts | Pictures, name: str) -> None:
        kind = "texts" if isinstance(rows, Texts) else "images"
        self._title, self._count = f"embedding {kind} with {name}", len(rows.rows)
        self._first: tuple[float, int] | None = None
        self._last = time.perf_counter()

    def __call__(self, done: int) -> None:
        now = time.perf_counter()
        if self._first is None:
            # Rows before the first call may have been kept from an earlier run.
            self._first = now, done
        start, before = self._first
        if now - self._last < PAUSE or done in (before, self._count):
            return
        self._last = now
        left = (now - start) * (self._count - done) / (done - before)
        print(f"{self._title}: {done:,} of {self._count:,}, {format_seconds(left)} left", flush=True)
