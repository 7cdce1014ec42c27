import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier import checks, discriminant, ridge


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
    factor = ridge.factor(ridge.gram(plain), penalty)
    return np.asarray(discriminant.fit(moment, jnp.float32(len(features)), factor))


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


def test_it_finds_more_labels_where_the_given_ones_say_little():
    results = [accuracies(*noisy_blobs(seed, 0.95)) for seed in range(4)]
    gains = [found - plain for (found, plain), _ in results]
    assert all(taken > 0 for _, taken in results), results
    assert np.mean(gains) > 0.015, results


def test_labels_that_say_much_lose_nothing():
    results = [accuracies(*noisy_blobs(seed, 0.2)) for seed in range(4)]
    assert np.mean([found - plain for (found, plain), _ in results]) > -0.003, results


def test_without_selection_nothing_is_averaged():
    task, _ = noisy_blobs(0, 0.9)
    config = PurifyConfig(steps=4, race_steps=2, selection=False)
    result = purify(*task, config=config)
    assert int(result.chosen["refits"]) == 0
    same = purify(*task, config=dataclasses.replace(config, refits=0))
    np.testing.assert_array_equal(result.probs, same.probs)


def test_clean_rows_of_weight_two_count_twice():
    """As if every clean row were there twice."""
    rng = np.random.default_rng(0)
    rows, again = rng.normal(size=(40, 5)), rng.normal(size=(10, 5))
    stacked = [np.concatenate([part, np.ones((len(part), 1))], axis=1) for part in (rows, again)]
    gram, gram_val = (jnp.asarray(part.T @ part, jnp.float32) for part in stacked)
    total = jnp.float32(len(rows))
    shared = SimpleNamespace(gram=gram, gram_val=gram_val, total=total)
    twice = SimpleNamespace(gram=gram, gram_val=2 * gram_val, total=total)
    found = discriminant.scatter(shared, SimpleNamespace(labels=np.zeros(10)), 2.0)
    expected = discriminant.scatter(twice, SimpleNamespace(labels=np.zeros(20)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found, expected)


def test_a_negative_number_of_refits_is_refused():
    with pytest.raises(
        checks.InputError, match=r"config\.refits is -1; it must be a whole number, at least 0"
    ):
        purify(*noisy_blobs(0, 0.9)[0], config=PurifyConfig(refits=-1))
