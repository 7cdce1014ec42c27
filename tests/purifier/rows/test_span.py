import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, predict, purify
from dmlp_jax.purifier import compiled
from dmlp_jax.purifier.rows import clean_set, loading, scaling, span
from tests.conftest import fresh_programs

ROWS, CLEAN, CLASSES = 60, 15, 3


def wide(columns, seed=0):
    """Rows of noise with a class mean each, 30 % of their labels drawn anew, in the order of `purify`."""
    rng = np.random.default_rng(seed)
    means = 5.0 * rng.normal(size=(CLASSES, columns)) / columns**0.5
    true, val_labels = rng.integers(CLASSES, size=ROWS), np.arange(CLEAN) % CLASSES
    features, val = (means[y] + rng.normal(size=(len(y), columns)) for y in (true, val_labels))
    given = np.where(rng.random(ROWS) < 0.3, rng.integers(CLASSES, size=ROWS), true)
    return features.astype(np.float32), given, (val.astype(np.float32), val_labels)


def load(features, given, clean):
    features = jnp.asarray(features)
    train = loading.load(features, jnp.asarray(given), jnp.ones(len(features)), CLASSES, 12)
    return train, scaling.center_and_normalize(jnp.asarray(clean), train.mean)


def test_inner_products_and_predictions_stay_as_they_are():
    features, given, (clean, _) = wide(100)
    features[1], features[2] = features[0], clean[0]
    train, val = load(features, given, clean)
    narrow, val_narrow, basis = span.narrow(train, val)
    assert narrow.features.shape[-1] == val_narrow.shape[1] == ROWS + CLEAN + 1
    np.testing.assert_allclose(basis.T @ basis, np.eye(ROWS + CLEAN), atol=1e-5)
    before, after = (
        np.concatenate([x.reshape(ROWS, -1), y])
        for x, y in ((train.features, val), (narrow.features, val_narrow))
    )
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-3)
    kernel = np.random.default_rng(1).normal(size=(ROWS + CLEAN, CLASSES)).astype(np.float32)
    np.testing.assert_allclose(before[:, :-1] @ span.widen(kernel, basis), after[:, :-1] @ kernel, atol=1e-3)


def test_rows_that_span_all_columns_are_left_alone():
    train, val = load(*wide(ROWS + CLEAN)[:2], wide(ROWS + CLEAN)[2][0])
    assert span.narrow(train, val)[0] is train
    spread = dataclasses.replace(load(*wide(100)[:2], wide(100)[2][0])[0], axis=("rows",))
    assert span.narrow(spread, jnp.zeros((CLEAN, 101)))[2] is None


def unrotated(monkeypatch, *arguments, **keywords):
    """`purify` on all columns."""
    with monkeypatch.context() as patch:
        patch.setattr(span, "narrow", lambda train, clean: (train, clean, None))
        for name, programs in fresh_programs().items():
            patch.setattr(compiled, name, programs)
        return purify(*arguments, **keywords)


@pytest.mark.parametrize("reviewed", [False, True])
def test_purify_gives_the_labels_of_all_columns(monkeypatch, reviewed):
    features, given, val = wide(100)
    config = PurifyConfig(steps=12, race_steps=8, ipc=not reviewed)
    keywords = {"val_given_labels": given[:CLEAN]} if reviewed else {}
    found = purify(features, given, val, config=config, **keywords)
    expected = unrotated(monkeypatch, features, given, val, config=config, **keywords)
    np.testing.assert_array_equal(found.labels, expected.labels)
    # The leverage of rows that are fewer than columns is near 1, where ridge predictions magnify rounding.
    np.testing.assert_allclose(found.probs, expected.probs, atol=2e-3 if reviewed else 1e-4)
    np.testing.assert_allclose(
        predict(found.classifier, features), predict(expected.classifier, features), atol=1e-4
    )
    assert found.classifier.kernel.shape == (100, CLASSES)


def test_purify_takes_wide_rows_under_vmap():
    both = [wide(100, seed) for seed in (0, 1)]
    config = PurifyConfig(steps=12, race_steps=8, ipc=True)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *both)
    found = jax.vmap(lambda *x: purify(*x, config=config, num_classes=CLASSES))(*stacked)
    alone = purify(*both[0], config=config)
    np.testing.assert_array_equal(found.labels[0], alone.labels)
    np.testing.assert_allclose(found.probs[0], alone.probs, atol=1e-4)


def test_the_paper_preset_takes_wide_rows():
    features, given, val = wide(100)
    found = purify(features, given, val, config=PurifyConfig.paper(steps=5))
    assert found.classifier.kernel.shape == (100, CLASSES)
    assert np.all(np.isfinite(found.scores["noisy_probe"]["accuracy"]))


def test_a_clean_set_with_other_features_keeps_its_folds():
    clean = clean_set.make(jnp.ones((CLEAN, 4)), jnp.arange(CLEAN) % CLASSES, CLASSES, 3, jax.random.key(0))
    other = clean_set.with_features(clean, jnp.ones((CLEAN, 2)))
    assert other.chunks.features.shape == (*chunks_of(clean), 2)
    np.testing.assert_array_equal(other.masks, clean.masks)


def chunks_of(clean):
    """Number of chunks and their rows."""
    return clean.chunks.labels.shape
