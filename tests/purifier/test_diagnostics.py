"""The numbers that warnings are made of, on ordinary rows and on rows with one thing wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from dmlp_jax.purifier import diagnostics, probes, warnings
from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.rows import chunks, clean_set, loading, reviews, scaling


@partial(jax.jit, static_argnums=4)
def numbers(features, given, val_features, val_labels, classes):
    """The diagnostics, without the rest of the program."""
    train = loading.load(features, given, jnp.ones(len(features)), classes, 6 * classes, clean=val_features)
    rows = scaling.center_and_normalize(val_features, train.mean)
    clean = clean_set.make(rows, val_labels, classes, 5, jax.random.key(0))
    gram, moment, total = chunks.sum_over(chunks.moments, train)
    fitted = probes.fit_probes(gram, ridge.spectrum(gram), moment, total, clean)
    lengths = {"clean_length": diagnostics.length(val_features, clean.real)}
    return train.diagnostics | lengths | diagnostics.of_clean_rows(gram, moment, total, clean, fitted)


def sentences(features, given, val_features, val_labels, classes):
    arrays = [np.asarray(x, np.float32) for x in (features, val_features)]
    found = numbers(arrays[0], jnp.asarray(given), arrays[1], jnp.asarray(val_labels), classes)
    return warnings.sentences(found)


def clusters(seed, count=300, shares=(0.4, 0.3, 0.3), noise=0.5, clean=30, separation=2.0):
    """Gaussian clusters of these class shares; clean rows, equally many of each class."""
    rng = np.random.default_rng(seed)
    classes = len(shares)
    centres = separation * rng.normal(size=(classes, 16)) / 2**0.5
    true, val_labels = rng.choice(classes, count, p=shares), np.arange(clean) % classes
    features, val_features = (
        centres[labels] + rng.normal(size=(len(labels), 16)) for labels in (true, val_labels)
    )
    given = np.where(rng.random(count) < noise, rng.integers(classes, size=count), true)
    return features, given, val_features, val_labels


def table(load, clean_rows, seed, scaled=True):
    """A data set of scikit-learn in standard units, equally many clean rows of each class, 40 % noise."""
    features, true = load(return_X_y=True)
    rng = np.random.default_rng(seed)
    raw = features
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    classes = int(true.max()) + 1
    order = rng.permutation(len(true))
    clean = np.concatenate([order[true[order] == k][: clean_rows // classes] for k in range(classes)])
    train = np.setdiff1d(order, clean)
    given = np.where(rng.random(len(train)) < 0.4, rng.integers(classes, size=len(train)), true[train])
    return features[train], given, (features if scaled else raw)[clean], true[clean]


@pytest.mark.parametrize("separation", [1.0, 2.0])
@pytest.mark.parametrize(
    ("shares", "noise"),
    [((0.4, 0.3, 0.3), 0.0), ((0.4, 0.3, 0.3), 0.9), ((0.9, 0.07, 0.03), 0.2), ((0.9, 0.07, 0.03), 1.0)],
)
def test_nothing_is_told_of_ordinary_rows(shares, noise, separation):
    """Other class shares among the clean rows and noise of every label are no fault."""
    for seed in range(5):
        assert sentences(*clusters(seed, shares=shares, noise=noise, separation=separation), 3) == ()


@pytest.mark.parametrize("clean", [10, 1000])
def test_nothing_is_told_of_few_or_many_clean_rows(clean):
    for seed in range(5):
        for separation in (1.0, 2.0):
            assert sentences(*clusters(seed, clean=clean, separation=separation), 3) == ()


@pytest.mark.parametrize(("load", "clean_rows"), [(load_digits, 100), (load_digits, 500), (load_wine, 30)])
def test_nothing_is_told_of_real_rows(load, clean_rows):
    for seed in range(3):
        task = table(load, clean_rows, seed)
        assert sentences(*task, int(task[3].max()) + 1) == ()


@pytest.mark.parametrize("clean_rows", [12, 30])
def test_clean_rows_that_a_pipeline_did_not_scale(clean_rows):
    found = sentences(*table(load_wine, clean_rows, 0, scaled=False), 3)[0]
    assert "on another scale than the training rows" in found
    assert "X_val" in found


@pytest.mark.parametrize("factor", [1 / 255, 0.05, 20, 255])
def test_clean_rows_of_another_scale(factor):
    features, given, val_features, val_labels = clusters(0)
    found = sentences(features, given, factor * val_features, val_labels, 3)
    assert "on another scale" in found[0]


def test_clean_rows_of_another_encoder():
    features, given, val_features, val_labels = clusters(0, shares=(0.9, 0.07, 0.03))
    shift = np.random.default_rng(9).normal(size=16)
    assert sentences(features, given, val_features + 3 * shift, val_labels, 3)


@pytest.mark.parametrize(
    "fault", ["noise", "constant", "clean rows unrelated", "clean rows of another order"]
)
def test_features_at_chance_are_told(fault):
    for seed in range(4):
        features, given, val_features, val_labels = clusters(
            seed, separation=0.0 if fault == "noise" else 2.0
        )
        rng = np.random.default_rng(seed)
        if fault == "constant":
            features, val_features = np.ones_like(features), np.ones_like(val_features)
        if fault == "clean rows unrelated":
            val_features = rng.normal(size=val_features.shape)
        if fault == "clean rows of another order":
            val_features = rng.permutation(val_features)
        assert any(
            "no better than chance" in text
            for text in sentences(features, given, val_features, val_labels, 3)
        )


def test_wrong_clean_rows_are_numbered():
    features, given, val_features, val_labels = clusters(0)
    val_labels = val_labels.copy()
    val_labels[[3, 13, 20]] = (val_labels[[3, 13, 20]] + 1) % 3
    (found,) = sentences(features, given, val_features, val_labels, 3)
    assert found.startswith("3 of the 30 clean rows probably have wrong labels")
    assert "the clean rows 3, 13, 20, counted from 0" in found


def test_wrong_clean_rows_among_many():
    features, given, val_features, val_labels = clusters(1, clean=1000)
    val_labels = np.where(np.arange(1000) % 20 == 0, (val_labels + 1) % 3, val_labels)
    (found,) = sentences(features, given, val_features, val_labels, 3)
    assert "probably have wrong labels" in found
    assert int(found.split()[0]) in range(35, 60)


def test_constant_features_give_finite_numbers():
    ones = np.ones((300, 16))
    _, given, _, val_labels = clusters(0)
    found = numbers(
        ones.astype(np.float32), jnp.asarray(given), ones[:30].astype(np.float32), jnp.asarray(val_labels), 3
    )
    assert all(np.all(np.isfinite(value)) for value in found.values())
    assert [text[:12] for text in warnings.sentences(found)] == ["The features"]


@pytest.mark.parametrize("fault", ["none", "train"])
def test_lengths_of_rows(fault):
    """Root mean squares by NumPy, which outliers do not touch."""
    features, given, val_features, val_labels = clusters(0)
    expected = np.sqrt([np.sum(np.var(features, axis=0)), np.sum(np.var(val_features, axis=0, ddof=1))])
    features = features.astype(np.float32)
    if fault == "train":
        features[7, 3] = 1e30
    found = numbers(features, jnp.asarray(given), val_features.astype(np.float32), jnp.asarray(val_labels), 3)
    lengths = [found["train_length"], found["clean_length"]]
    np.testing.assert_allclose(lengths, expected, rtol=5e-3 if fault == "train" else 1e-5)


def test_a_mistake_that_the_classifier_learned_from_the_noisy_source_is_no_doubt_of_the_review():
    labels = jnp.zeros(60, jnp.int32)
    logits = jnp.tile(jnp.asarray([3.0, 0.0, 0.0]), (60, 1)) + 0.1 * jax.random.normal(
        jax.random.key(0), (60, 3)
    )
    logits = logits.at[:8].set(jnp.asarray([0.0, 4.0, 0.0]))
    found = diagnostics.doubtful(logits, labels, jnp.ones(len(labels)))["doubtful_clean_rows"]
    assert int(found[:8].sum()) == int(found.sum()) == 8
    given = jnp.zeros(60, jnp.int32).at[:5].set(1)
    known = reviews.make(given, None, 3)
    found = diagnostics.doubtful(logits, labels, jnp.ones(len(labels)), known)["doubtful_clean_rows"]
    np.testing.assert_array_equal(np.flatnonzero(found), [5, 6, 7])
