import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.posterior import e_step, ipc_step, transition
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.rows.chunks import Chunk

K, N, D, C = 2, 40, 5, 3


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    train = Chunk(rng.normal(size=(N, D)), np.eye(C)[rng.integers(C, size=N)], rng.random(N))
    model = LabelModel(
        rng.normal(size=(K, D, C)),
        rng.dirichlet(np.ones(C), size=(K, C)),
        np.array([0.5, 2.0]),
        np.array([0.1, 0.4]),
        np.array([0.7, 1.3]),
    )
    return model, train


def as_float32(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def by_hand(model, train, k, errors=None, transition=None):
    """Row by row in float64: predictions, written labels, residuals, slopes in log t and log noise rate."""
    learned = train.given @ model.transition[k].T
    likelihood = learned if transition is None else train.given @ transition[k].T
    logits = train.features @ model.weights[k]
    probs = softmax(logits)
    seen = probs * learned
    residual = probs - seen / seen.sum(axis=1, keepdims=True)
    moved = model.leverage[k] * residual - model.given_label_leverage[k] * train.given
    alone = logits + train.weight[:, None] * moved
    scaled = alone / model.temperature[k]
    prior = softmax(scaled) if errors is None else softmax(scaled) @ errors[k]
    joint = prior * likelihood
    seen = joint.sum(axis=1)
    labels = joint / seen[:, None]
    slopes = np.sum(scaled * (prior - labels), axis=1), 1 - np.sum(prior * train.given, axis=1) / seen
    return probs, labels, residual, np.stack(slopes)


def test_sums_are_those_of_the_rows(problem):
    model, train = problem
    found = e_step.sums(as_float32(model), as_float32(train))
    for k in range(K):
        probs, labels, residual, slopes = by_hand(model, train, k)
        weighted = train.weight[:, None]
        np.testing.assert_allclose(
            found.gradient[k], train.features.T @ (weighted * (probs - labels)), atol=1e-4
        )
        np.testing.assert_allclose(found.counts[k], (weighted * labels).T @ train.given, atol=1e-4)
        np.testing.assert_allclose(found.squares[k], (weighted * residual**2).sum(), rtol=1e-4)
        np.testing.assert_allclose(found.slopes[k], slopes @ train.weight, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.curvature[k], slopes * train.weight @ slopes.T, rtol=1e-4)


def test_ipc_moves_the_labels_before_the_classifier_learns_them(problem):
    model, train = problem
    direction = 0.05 * np.random.default_rng(1).normal(size=(K, D, C))
    found = ipc_step.sums(*as_float32((model, direction, train)))
    for k in range(K):
        probs, labels, *_ = by_hand(model, train, k)
        moved = np.maximum(labels - train.features @ direction[k], 0)
        moved /= moved.sum(axis=1, keepdims=True)
        weighted = train.weight[:, None]
        gradient = train.features.T @ (weighted * (probs - moved))
        np.testing.assert_allclose(found.gradient[k], gradient, atol=1e-4)
        np.testing.assert_allclose(found.moment[k], train.features.T @ (weighted * labels), atol=1e-4)


def test_predictions_are_corrected_by_the_errors_before_the_given_label_counts(problem):
    """What a row's own label has moved is undone by the T that the classifier learned from."""
    model, train = problem
    errors, transition = np.random.default_rng(2).dirichlet(np.ones(C), size=(2, K, C))
    prior = e_step.corrected_probs(*as_float32((model, train, errors)))
    found = e_step.bayes(prior, e_step.likelihood_of_given(*as_float32((transition, train))))[0]
    for k in range(K):
        _, labels, *_ = by_hand(model, train, k, errors, transition)
        np.testing.assert_allclose(found[k].T, labels, atol=1e-5)


def test_without_errors_the_posterior_is_written(problem):
    model, train = as_float32(problem)
    found = e_step.expectation(model, train)
    np.testing.assert_array_equal(e_step.posterior_labels(model, train), found.labels)
    prior = e_step.corrected_probs(model, train, None)
    np.testing.assert_array_equal(prior, e_step.leave_one_out_probs(model, train).leave_one_out)
    for k in range(K):
        np.testing.assert_allclose(found.residual[k].T, by_hand(*problem, k)[2], atol=1e-5)


def test_uninformative_noise_leaves_the_prediction():
    scores = jnp.asarray([0.4, 1.6])[None, :, None]
    labels, seen = e_step.bayes(scores, jnp.full((1, 2, 1), 0.5))
    np.testing.assert_allclose(labels, scores / 2, atol=1e-6)
    np.testing.assert_allclose(seen, 0.5 * 2.0)


def test_what_was_thought_impossible_is_still_a_distribution():
    """The class that could have given the label has a prediction of 0: the floor of T decides."""
    scores = jnp.asarray([1.0, 0.0])[None, :, None]
    counts = jnp.asarray([[100.0, 0.0], [0.0, 100.0]])
    likelihood = transition.transition_matrix(counts)[:, 1][None, :, None]
    np.testing.assert_allclose(e_step.bayes(scores, likelihood)[0], scores)


def test_logits_of_any_size_are_finite(problem):
    model, train = as_float32(problem)
    found = e_step.sums(model._replace(weights=1e4 * model.weights), train)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
