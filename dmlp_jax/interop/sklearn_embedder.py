"""Provides `embed` as a scikit-learn transformer, `Embedder`: the first step of a Pipeline on raw rows."""

from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from dmlp_jax.embedding import features, inputs, libraries
from dmlp_jax.embedding.encoders import Encoder


class _Stored(NamedTuple):
    """What a pickle keeps of an encoder that is loaded by its name."""

    name: str
    weights: str


class Embedder(TransformerMixin, BaseEstimator):
    """Embeds texts or images; `fit` learns a built-in encoder on them, or loads a library's model.

    New rows are embedded by the encoder that `fit` learned. Labels are not looked at. A pickle holds a
    built-in encoder whole; of others it holds the name, and the model is loaded again when it is needed.

    Args:
        encoder: as in `embed`: None for the built-in one, 'library:model' or 'module:function'.
        batch_size: rows that a library's model takes at a time.

    Attributes:
        encoder_: the fitted encoder.
    """

    def __init__(self, encoder: str | None = None, *, batch_size: int = libraries.BATCH) -> None:
        self.encoder = encoder
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns or loads the encoder.

        Args:
            X: texts or images [n], as `embed` takes them.
            y: not used.

        Raises:
            UserError: as in `embed`.
        """
        self.encoder_ = features.fit(X, self.encoder, batch_size=self.batch_size)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features [m, d], float32, of texts or images [m].

        Raises:
            UserError: as in `embed`; or a model that was loaded again has other weights.
        """
        check_is_fitted(self)
        return self._loaded().encode(inputs.read(X))

    def __getstate__(self) -> dict[str, Any]:
        """Models of libraries are functions, which cannot be pickled."""
        state = dict(super().__getstate__())
        if isinstance(state.get("encoder_"), libraries.LibraryEncoder):
            record = state["encoder_"].record()
            state["encoder_"] = _Stored(record["name"], record.get("weights", ""))
        return state

    def __sklearn_tags__(self) -> Any:
        """Texts are no numbers, and neither texts nor images are matrices."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def _loaded(self) -> Encoder:
        if isinstance(self.encoder_, _Stored):
            name, weights = self.encoder_
            encoder = libraries.load(name, self.batch_size)
            features.check_weights(name, weights, encoder.record().get("weights", ""))
            self.encoder_ = encoder
        return self.encoder_
