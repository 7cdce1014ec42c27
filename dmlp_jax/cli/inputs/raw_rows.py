"""Reads raw texts and images as rows with features: from a table with a column of texts, or a folder.

The noisy rows are read first. A built-in encoder learns from them, and encodes the clean rows of another file
or folder too.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import arrays, image_folder, own_table, tables
from dmlp_jax.cli.inputs.image_folder import ImageFolder
from dmlp_jax.cli.inputs.own_table import OwnTable
from dmlp_jax.embedding import store
from dmlp_jax.embedding.features import announced, default_encoder, kept
from dmlp_jax.embedding.inputs import Pictures, Texts
from dmlp_jax.errors import UserError


class RawRows(NamedTuple):
    """Rows of a table of texts or of a folder of images.

    Attributes:
        features: [n, d]; zeros for images that cannot be decoded.
        labels: given labels [n] strings, or None.
        ids: names [n] strings, or None.
        table: the user's own table; None for class folders.
        texts: the texts [n], or None.
        pictures: files of the images [n], or None.
        unreadable: why images cannot be decoded, by row.
        said: sentences about what is not used.
        embedding: what embedded them: 'encoder', 'key' and 'folder', and for a library's model 'weights',
            for rows that come later.
    """

    features: Any
    labels: np.ndarray | None
    ids: np.ndarray | None
    table: OwnTable | None
    texts: np.ndarray | None = None
    pictures: list[Path] | None = None
    unreadable: Mapping[int, str] = MappingProxyType({})
    said: tuple[str, ...] = ()
    embedding: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass
class Embedder:
    """Embeds the rows of a run.

    Attributes:
        folder: where embeddings are kept.
        encoder: its name; None takes the built-in one.
        text_column: column of texts in tables, or None.
        key: of the noisy rows, once they are embedded: the fitted encoder is kept under it.
        name: of the encoder that was used, once one was.
        weights: hash of those of a library's model, once they are known: all rows must have the same model.
    """

    folder: Path
    encoder: str | None = None
    text_column: str | None = None
    key: str = ""
    name: str = ""
    weights: str = ""

    def takes(self, path: Path) -> bool:
        """Whether a file or folder holds raw rows."""
        return path.is_dir() or (self.text_column is not None and tables.is_table(path))

    def read(
        self, path: Path, labels: Path | None, label_column: str | None, id_column: str | None
    ) -> RawRows:
        """Reads and embeds raw rows.

        Args:
            path: a table with the column of texts, or a folder of images.
            labels: of images, a table of names and labels.
            label_column: column of labels, 'label' by default.
            id_column: column of names.

        Raises:
            UserError: the files cannot be read, or the rows cannot be embedded.
        """
        if path.is_dir():
            return self._images(image_folder.read(path, labels, label_column, id_column))
        return self._texts(own_table.read(path), label_column, id_column)

    def used(self) -> dict[str, str]:
        """What embedded the rows, as JSON values."""
        model = {"weights": self.weights} if self.weights else {}
        return {"encoder": self.name, "key": self.key, "folder": str(self.folder), **model}

    def _texts(self, table: OwnTable, label_column: str | None, id_column: str | None) -> RawRows:
        texts = table.texts(self.text_column or "", "the texts")
        empty = np.array([not text.strip() for text in texts])
        if empty.all():
            raise UserError(f"column {self.text_column!r} of {table.path} holds no text in any row")
        label = label_column or (tables.LABEL_COLUMN if tables.LABEL_COLUMN in table.names else None)
        said = [f"{int(empty.sum()):,} texts are empty; their labels cannot be judged"] if empty.any() else []
        # Labels and ids first: a mistake in them is told before the texts are embedded.
        labels = None if label is None else table.texts(label, "the label column")
        ids = None if id_column is None else table.texts(id_column, "the id column").astype(np.str_)
        features = self._embed(Texts(tuple(texts)))
        return RawRows(features, labels, ids, table, texts=texts, said=tuple(said), embedding=self.used())

    def _images(self, found: ImageFolder) -> RawRows:
        readable = np.setdiff1d(np.arange(len(found.paths)), list(found.unreadable))
        features = self._embed(Pictures([found.paths[row] for row in readable]))
        said = list(found.said)
        if found.unreadable:
            whole = np.zeros((len(found.paths), features.shape[1]), np.float32)
            whole[readable] = features
            features = whole
            row, reason = next(iter(found.unreadable.items()))
            said.append(
                f"{len(found.unreadable):,} images cannot be decoded and are left out, the first of them "
                f"{found.names[row]} ({reason})"
            )
        return RawRows(
            features=features,
            labels=found.labels,
            ids=found.names.astype(np.str_),
            table=found.table,
            pictures=found.paths,
            unreadable=found.unreadable,
            said=tuple(said),
            embedding=self.used(),
        )

    def _embed(self, rows: Texts | Pictures) -> Any:
        self.name = self.encoder or default_encoder(rows)
        print(f"embedding {len(rows.rows):,} {kind_of(rows)} with {self.name} ...", flush=True)
        progress = announced(rows, self.name)
        path, key = kept(rows, self.name, self.folder, progress, fitted_on=self.key, weights=self.weights)
        self.key = self.key or key
        self.weights = store.weights_of(self.folder, key)
        return arrays.read_matrix(path)


def kind_of(rows: Texts | Pictures) -> str:
    """'texts' or 'images'."""
    return "texts" if isinstance(rows, Texts) else "images"
