"""Embeds texts without a download: TF-IDF of words and of pieces of words, then a truncated SVD.

This is latent semantic analysis (Deerwester et al. 1990). Pieces of words, three to five characters long,
stand for spelling, endings and unknown words. It knows nothing about language but the texts themselves: a
sentence encoder is better where the texts are short or few.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.errors import UserError

NAME = "tfidf"
WIDTH = 256
# Texts that the vocabulary and the SVD are learned from at most, drawn at random.
SAMPLE = 20_000
MOST_WORDS, MOST_PIECES = 20_000, 20_000
BATCH = 2_000


class TextEncoder(NamedTuple):
    """A fitted encoder of texts, in plain arrays.

    Attributes:
        words: vocabulary of words.
        pieces: vocabulary of pieces of words.
        weights: inverse document frequency of words, then pieces, [v], float32.
        components: directions of the SVD, [d, v], float16.
    """

    words: tuple[str, ...]
    pieces: tuple[str, ...]
    weights: np.ndarray
    components: np.ndarray

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """Embeddings [n, d] of texts [n], float32, of length 1; zeros for a text without a known word."""
        found = np.zeros((len(texts), len(self.components)), np.float32)
        transposed = self.components.T.astype(np.float32)
        counters = _counters(self.words, self.pieces)
        for start in range(0, len(texts), BATCH):
            rows = _weighted(counters, texts[start : start + BATCH], self.weights) @ transposed
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            found[start : start + BATCH] = rows / np.where(length > 0, length, 1)
            progress(min(start + BATCH, len(texts)))
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """The encoder as arrays for an npz file; see `from_arrays`."""
        return {
            "words": _packed(self.words),
            "pieces": _packed(self.pieces),
            "weights": self.weights,
            "components": self.components,
        }


def from_arrays(arrays: dict[str, np.ndarray]) -> TextEncoder:
    """The encoder that `TextEncoder.arrays` wrote."""
    return TextEncoder(
        _unpacked(arrays["words"]), _unpacked(arrays["pieces"]), arrays["weights"], arrays["components"]
    )


def fit(texts: Sequence[str], width: int = WIDTH, seed: int = 0) -> TextEncoder:
    """Learns an encoder from texts [n]; no label is involved.

    Args:
        texts: [n]; at most `SAMPLE` of them, drawn at random, are learned from.
        width: d, lowered to what the texts have.
        seed: of the draw and of the randomised SVD.

    Raises:
        UserError: the texts have no word or piece in common.
    """
    from sklearn.decomposition import TruncatedSVD

    rng = np.random.default_rng(seed)
    some = list(texts)
    if len(some) > SAMPLE:
        some = [texts[row] for row in np.sort(rng.choice(len(texts), SAMPLE, replace=False))]
    words, pieces = _vocabulary("words", some), _vocabulary("pieces", some)
    size = len(words) + len(pieces)
    if size < 2 or len(some) < 2:
        raise UserError(
            f"the {len(texts):,} texts share too few words to be embedded; check that this is the column of "
            "texts, or name an encoder of a library"
        )
    counters = _counters(words, pieces)
    counts = _weighted(counters, some, np.ones(size, np.float32), rescale=False)
    documents = np.bincount(counts.indices, minlength=size)
    # scikit-learn's smoothed inverse document frequency.
    weights = (np.log((1 + len(some)) / (1 + documents)) + 1).astype(np.float32)
    matrix = _weighted(counters, some, weights)
    svd = TruncatedSVD(min(width, size - 1, len(some) - 1), random_state=seed)
    # Equal texts have no variance that shares of it could be told from.
    with np.errstate(divide="ignore", invalid="ignore"):
        svd.fit(matrix)
    return TextEncoder(words, pieces, weights, svd.components_.astype(np.float16))


def _counter(kind: str, vocabulary: Iterable[str] | None = None) -> Any:
    """scikit-learn's counter of words or pieces, with a vocabulary or to learn one."""
    from sklearn.feature_extraction.text import CountVectorizer

    # A vocabulary is ordered; scikit-learn numbers its entries in that order.
    settings: dict[str, Any] = {"strip_accents": "unicode", "vocabulary": vocabulary and list(vocabulary)}
    if kind == "words":
        settings |= {"min_df": 2, "max_features": MOST_WORDS}
    else:
        settings |= {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": 3, "max_features": MOST_PIECES}
    return CountVectorizer(**settings)


def _counters(words: tuple[str, ...], pieces: tuple[str, ...]) -> list[Any]:
    return [_counter(kind, known) for kind, known in (("words", words), ("pieces", pieces)) if known]


def _vocabulary(kind: str, texts: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(_counter(kind).fit(texts).get_feature_names_out().tolist())
    except ValueError:
        # No word occurs in two texts.
        return ()


def _weighted(counters: list[Any], texts: Sequence[str], weights: np.ndarray, rescale: bool = True) -> Any:
    """TF-IDF with logarithmic counts, [n, v] sparse: words and pieces have length 1 each."""
    from scipy import sparse
    from sklearn.preprocessing import normalize

    blocks, start = [], 0
    for counter in counters:
        counts = counter.transform(texts).astype(np.float32)
        counts.data = 1 + np.log(counts.data)
        stop = start + counts.shape[1]
        if rescale:
            counts = normalize(counts @ sparse.diags(weights[start:stop]))
        blocks.append(counts)
        start = stop
    return sparse.hstack(blocks, format="csr")


def _packed(words: tuple[str, ...]) -> np.ndarray:
    """Words as the bytes of a JSON list: an array of strings would take the room of the longest for each."""
    return np.frombuffer(json.dumps(words).encode(), np.uint8)


def _unpacked(stored: np.ndarray) -> tuple[str, ...]:
    return tuple(json.loads(stored.tobytes()))
