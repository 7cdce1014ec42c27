import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier.base import errors, ridge, temperature
from dmlp_jax.purifier.base.temperature import TemperatureEvidence
from dmlp_jax.purifier.posterior import lda
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.state import FittedModel, Precomputed
from dmlp_jax.purifier.rows import chunks, loading
from dmlp_jax.purifier.rows import clean_set as clean_lib
from dmlp_jax.purifier.rows.clean_set import CleanSet
from tests.conftest import FIXED, make_blobs


def make_sums(rng, rows=400, width=6, classes=3):
    """Rows [n, d + 1] with a constant column, soft labels [n, c] and hard ones [n] behind them."""
    labels = rng.integers(classes, size=rows)
    features = 1.5 * rng.normal(size=(classes, width))[labels] + rng.normal(size=(rows, width))
    features = np.concatenate([features - features.mean(axis=0), np.ones((rows, 1))], axis=1)
    soft = 0.8 * np.eye(classes)[labels] + 0.2 * rng.dirichlet(np.ones(classes), rows)
    return features, soft, labels


def fit(features, soft, penalty):
    moment = jnp.asarray(features.T @ soft, jnp.float32)
    plain = jnp.asarray(features[:, :-1], jnp.float32)
    factor = ridge.inverse(ridge.gram(plain), penalty)
    return np.asarray(lda.fit(moment, jnp.float32(len(features)), factor))


def test_the_closed_form_is_that_of_gaussians_with_one_covariance():
    features, soft, _ = make_sums(np.random.default_rng(0))
    penalty, rows = 7.0, features[:, :-1]
    counts = soft.sum(axis=0) + 1.0
    means = soft.T @ rows / counts[:, None]
    scatter = rows.T @ rows + penalty * np.eye(rows.shape[1]) - (means.T * counts) @ means
    precision = len(rows) * np.linalg.inv(scatter)
    distances = [np.einsum("nd,de,ne->n", rows - mean, precision, rows - mean) for mean in means]
    expected = np.log(counts) - 0.5 * np.stack(distances, axis=1)
    expected -= expected.mean(axis=1, keepdims=True)
    found = features @ fit(features, soft, penalty)
    found -= found.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_without_a_penalty_it_predicts_as_scikit_learn_does():
    features, _, labels = make_sums(np.random.default_rng(1), rows=2000)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(features[:, :-1], labels)
    weights = fit(features, np.eye(3)[labels], 1e-3)
    log_probs = jax.nn.log_softmax(jnp.asarray(features @ weights))
    # Its classes have no row more at the centre.
    np.testing.assert_allclose(jnp.exp(log_probs), peer.predict_proba(features[:, :-1]), atol=0.01)


def test_a_class_without_rows_gets_finite_weights_and_no_predictions():
    features, soft, _ = make_sums(np.random.default_rng(2))
    soft = np.concatenate([soft, np.zeros_like(soft[:, :1])], axis=1)
    weights = fit(features, soft, 1.0)
    assert np.all(np.isfinite(weights))
    assert not np.any(np.argmax(features @ weights, axis=1) == 3)


def noisy_blobs(seed, rate, rows=1500, clean=20, width=100, classes=5, spread=2.5):
    """Classes of Gaussian rows, and given labels of which a share `rate` is drawn at random."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows + clean)
    labels[rows:] = np.arange(clean) % classes
    centres = spread * rng.normal(size=(classes, width)) / np.sqrt(width)
    features = (centres[labels] + rng.normal(size=(rows + clean, width))).astype(np.float32)
    drawn = rng.random(rows) < rate
    given = np.where(drawn, rng.integers(classes, size=rows), labels[:rows])
    return (features[:rows], given, (features[rows:], labels[rows:])), labels[:rows]


def accuracies(task, true):
    """Label accuracy with and without the closed form, and how often it was taken."""
    found = purify(*task)
    plain = purify(*task, config=PurifyConfig(refits=0))
    assert int(plain.chosen["refits"]) == 0
    if int(found.chosen["refits"]) == 0:
        np.testing.assert_array_equal(found.labels, plain.labels)
    return [float(np.mean(np.asarray(r.labels) == true)) for r in (found, plain)], int(found.chosen["refits"])


@pytest.mark.slow
def test_it_finds_more_labels_where_the_given_ones_say_little():
    """The classifier alone gains 1.4 points. What is found is bound by what was once written without it.

    That was 80.2 % right, by a step that came after and is gone; 1.5 points more were asked, and are.
    """
    results = [accuracies(*noisy_blobs(seed, 0.95)) for seed in range(4)]
    found, plain = np.mean([accuracy for accuracy, _ in results], axis=0)
    assert all(taken > 0 for _, taken in results), results
    assert found > 0.802 + 0.015, results
    assert found > plain + 0.01, results


@pytest.mark.slow
def test_labels_that_say_much_lose_nothing():
    results = [accuracies(*noisy_blobs(seed, 0.2)) for seed in range(4)]
    assert np.mean([found - plain for (found, plain), _ in results]) > -0.003, results


@pytest.mark.slow
def test_without_selection_nothing_is_averaged():
    task = make_blobs(0, noise=0.9)[:3]
    result = purify(*task, config=FIXED)
    assert int(result.chosen["refits"]) == 0
    same = purify(*task, config=dataclasses.replace(FIXED, refits=0))
    np.testing.assert_array_equal(result.probs, same.probs)


def test_clean_rows_of_weight_two_count_twice(monkeypatch):
    """As if every clean row were there twice, in the fold that it is in, at the same temperature."""
    monkeypatch.setattr(temperature, "fit_temperature", lambda *_, **__: jnp.float32(1))
    rng = np.random.default_rng(0)
    count, width, classes, folds = 60, 5, 3, 2
    features = np.concatenate([rng.normal(size=(count, width)), np.ones((count, 1))], axis=1)
    train = loading.load(
        jnp.asarray(features[:40, :-1], jnp.float32), jnp.arange(40) % classes, jnp.ones(40), classes, 6
    )
    gram, _, total = chunks.sum_over(chunks.moments, train)
    clean = clean_lib.make(
        jnp.asarray(features[40:], jnp.float32), jnp.arange(20) % classes, classes, folds, jax.random.key(0)
    )
    ones = np.ones(folds + 1, np.float32)
    model = LabelModel(
        jnp.asarray(rng.normal(size=(folds + 1, width + 1, classes)), jnp.float32),
        jnp.asarray(rng.dirichlet(np.ones(classes), size=(folds + 1, classes)), jnp.float32),
        0.1 * ones, 0.0 * ones, ones,
    )  # fmt: skip

    def averaged(clean, val_weight):
        shared = Precomputed(gram, ridge.gram(clean.features), None, total, None)
        held_out = clean_lib.held_out(model.weights[:-1], clean)
        evidence = TemperatureEvidence(jnp.float32(0), jnp.float32(0))
        start = FittedModel(model, held_out, evidence, jnp.full(classes, 1 / classes))
        common = lda.scatter(shared, clean, val_weight)
        found = jax.jit(lda._averaged)(start, common, train, clean, PurifyConfig(val_weight=val_weight))
        return found.model

    def again(leaf, axis):
        return jnp.concatenate([leaf, leaf], axis=axis)

    twice = CleanSet(
        *(again(leaf, 0) for leaf in clean[:3]),
        again(clean.masks, 1),
        jax.tree.map(partial(again, axis=1), clean.chunks),
        clean.width,
        again(clean.real, 0),
    )
    found, expected, once = averaged(clean, 2.0), averaged(twice, 1.0), averaged(clean, 1.0)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), found, expected)
    assert np.max(np.abs(once.weights - expected.weights)) > 0.02


def test_a_negative_number_of_refits_is_refused():
    with pytest.raises(
        errors.InputError, match=r"config\.refits is -1; it must be a whole number, at least 0"
    ):
        purify(*noisy_blobs(0, 0.9)[0], config=PurifyConfig(refits=-1))
