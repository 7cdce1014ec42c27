"""`Embedder` before `LabelPurifier` in a Pipeline, on raw texts and images."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from dmlp_jax import Embedder, LabelPurifier, embed
from dmlp_jax.embedding import loaders
from dmlp_jax.errors import UserError

WORDS = np.array(
    [["ship", "sail", "sea", "deck"], ["cat", "purr", "paw", "fur"], ["bread", "flour", "oven", "dough"]]
)
NAMES = np.array(["ships", "cats", "bread"])


@pytest.fixture
def problem():
    """Texts [240], given and true labels; the first 30 rows are reviewed, the last 60 are new."""
    rng = np.random.default_rng(0)
    true = np.arange(240) % 3
    texts = np.array(
        [" ".join([*rng.choice(WORDS[label], 4), *rng.choice(["the", "a", "old"], 2)]) for label in true]
    )
    given = np.where(rng.random(240) < 0.3, rng.integers(3, size=240), true)
    return texts, NAMES[given], NAMES[true]


def test_a_pipeline_purifies_raw_texts_and_classifies_new_ones(problem):
    texts, given, true = problem
    with sklearn.config_context(enable_metadata_routing=True):
        steps = [("embed", Embedder()), ("purify", LabelPurifier(random_state=0))]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        fitted = clone(pipeline).fit(
            texts[30:180], given[30:180], X_val=texts[:30], y_val=true[:30], val_given=given[:30]
        )
    purifier = fitted["purify"]
    assert np.mean(given[30:180] == true[30:180]) < 0.9
    assert np.mean(purifier.labels_ == true[30:180]) > 0.95
    assert fitted.score(texts[180:], true[180:]) > 0.95
    # As by hand: the encoder learns on the training rows and embeds the others.
    own = Embedder().fit(texts[30:180])
    np.testing.assert_array_equal(own.transform(texts[30:180]), embed(list(texts[30:180])))
    assert purifier.n_features_in_ == own.transform(texts[:2]).shape[1]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(texts[180:]), fitted.predict_proba(texts[180:]))
    with pytest.raises(NotFittedError):
        Embedder().transform(texts)


def test_images_are_embedded_too():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    found = Embedder().fit_transform(images)
    assert found.shape[0] == 40
    np.testing.assert_array_equal(found, embed(images))
    with pytest.raises(UserError, match="encodes images, but these are texts"):
        Embedder().fit(images).transform(["a text"])


def test_a_pickle_loads_the_model_of_a_library_again(problem, monkeypatch):
    texts = problem[0]
    weights = ["a" * 16]

    def load(library, model):
        return lambda batch: np.array([[len(text), text.count("a")] for text in batch]), weights[0]

    monkeypatch.setattr(loaders, "load", load)
    embedder = Embedder("timm:some-model", batch_size=7).fit(texts)
    stored = pickle.dumps(embedder)
    expected = embedder.transform(texts)
    np.testing.assert_array_equal(pickle.loads(stored).transform(texts), expected)
    np.testing.assert_array_equal(clone(embedder).fit(texts).transform(texts), expected)
    weights[0] = "b" * 16
    with pytest.raises(UserError, match="is another model now"):
        pickle.loads(stored).transform(texts)
