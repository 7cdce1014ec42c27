"""TF-IDF and truncated SVD of texts."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from dmlp_jax.embedding import text
from dmlp_jax.errors import UserError

TEXTS = [
    "the ship sails over the sea",
    "a ship and its sailors at sea",
    "sailors mend the sails of a ship",
    "cats purr and cats sleep",
    "the cat sleeps in the sun",
    "a cat purrs in its sleep",
    "Cafés open early",
    "cafes close late, early cafes",
]


def test_the_matrix_is_scikit_learns_tfidf_of_words_and_of_pieces():
    """With all directions kept, products of embeddings are those of TF-IDF rows."""
    encoder = text.fit(TEXTS, width=100)
    settings = {"sublinear_tf": True, "strip_accents": "unicode"}
    words = TfidfVectorizer(min_df=2, **settings).fit_transform(TEXTS)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, **settings).fit_transform(
        TEXTS
    )
    products = (words @ words.T + pieces @ pieces.T).toarray()
    # Seven directions hold nearly all of eight rows; float16 stores them.
    found = encoder.encode(TEXTS)
    cosine = products / np.sqrt(np.outer(products.diagonal(), products.diagonal()))
    np.testing.assert_allclose(found @ found.T, cosine, atol=0.12)
    assert np.corrcoef((found @ found.T).ravel(), cosine.ravel())[0, 1] > 0.99


def test_rows_have_length_one_and_unknown_texts_are_zero():
    encoder = text.fit(TEXTS, width=4)
    found = encoder.encode([*TEXTS, "", "zzz qqq"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1] * 8 + [0] * 2, atol=1e-5)
    assert found.dtype == np.float32


def test_an_encoder_from_its_arrays_is_the_same():
    encoder = text.fit(TEXTS, width=4)
    again = text.from_arrays(encoder.arrays())
    assert again.words == encoder.words
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_batches_do_not_change_rows(monkeypatch):
    encoder, done = text.fit(TEXTS, width=4), []
    whole = encoder.encode(TEXTS)
    monkeypatch.setattr(text, "BATCH", 3)
    np.testing.assert_allclose(encoder.encode(TEXTS, done.append), whole, atol=1e-6)
    assert done == [3, 6, 8]


def test_a_sample_is_learned_from_where_texts_are_many(monkeypatch):
    monkeypatch.setattr(text, "SAMPLE", 4)
    count, width = text.fit(TEXTS * 5, width=10).encode(TEXTS).shape
    assert count == 8
    assert width <= 3


@pytest.mark.parametrize("texts", [["a b", "c d"], ["", ""], ["one word"]])
def test_texts_that_share_no_words_are_refused(texts):
    with pytest.raises(UserError, match="share too few words"):
        text.fit(texts)
