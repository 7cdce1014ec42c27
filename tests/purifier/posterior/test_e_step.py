import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.posterior import e_step, transition
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.rows.chunks import Chunk

K, N, D, C = 2, 40, 5, 3


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    train = Chunk(rng.normal(size=(N, D)), np.eye(C)[rng.integers(C, size=N)], rng.random(N))
    head = Head(
        rng.normal(size=(K, D, C)),
        rng.dirichlet(np.ones(C), size=(K, C)),
        np.array([0.5, 2.0]),
        np.array([0.1, 0.4]),
        np.array([0.7, 1.3]),
        None,
    )
    return head, train


def as_float32(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def by_hand(head, train, k):
    """Row by row in float64: predictions, written labels, residuals, slopes in log t and log noise rate."""
    likelihood = train.given @ head.transition[k].T
    learned = likelihood if head.learned_transition is None else train.given @ head.learned_transition[k].T
    logits = train.features @ head.weights[k]
    probs = softmax(logits)
    seen = probs * learned
    residual = probs - seen / seen.sum(axis=1, keepdims=True)
    moved = head.leverage[k] * residual - head.memory[k] * train.given
    alone = logits + train.weight[:, None] * moved
    scaled = alone / head.temperature[k]
    prior = softmax(scaled) if head.confusion is None else softmax(scaled) @ head.confusion[k]
    joint = prior * likelihood
    seen = joint.sum(axis=1)
    labels = joint / seen[:, None]
    slopes = np.sum(scaled * (prior - labels), axis=1), 1 - np.sum(prior * train.given, axis=1) / seen
    return probs, labels, residual, np.stack(slopes)


def test_sums_are_those_of_the_rows(problem):
    head, train = problem
    found = e_step.sums(as_float32(head), as_float32(train))
    for k in range(K):
        probs, labels, residual, slopes = by_hand(head, train, k)
        weighted = train.weight[:, None]
        np.testing.assert_allclose(found.pull[k], train.features.T @ (weighted * (probs - labels)), atol=1e-4)
        np.testing.assert_allclose(found.counts[k], (weighted * labels).T @ train.given, atol=1e-4)
        np.testing.assert_allclose(found.squares[k], (weighted * residual**2).sum(), rtol=1e-4)
        np.testing.assert_allclose(found.slopes[k], slopes @ train.weight, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.curvature[k], slopes * train.weight @ slopes.T, rtol=1e-4)


def test_ipc_moves_the_labels_before_the_classifier_learns_them(problem):
    head, train = problem
    rng = np.random.default_rng(1)
    head = head._replace(direction=0.05 * rng.normal(size=(K, D, C)))
    found = e_step.sums(as_float32(head), as_float32(train))
    for k in range(K):
        probs, labels, *_ = by_hand(head, train, k)
        moved = np.maximum(labels - train.features @ head.direction[k], 0)
        moved /= moved.sum(axis=1, keepdims=True)
        weighted = train.weight[:, None]
        np.testing.assert_allclose(found.pull[k], train.features.T @ (weighted * (probs - moved)), atol=1e-4)
        np.testing.assert_allclose(found.moment[k], train.features.T @ (weighted * labels), atol=1e-4)


def test_predictions_pass_the_confusion_before_they_meet_the_given_label(problem):
    """And what a row's own label has moved is that which the classifier learned, by its T."""
    head, train = problem
    confusion, learned = np.random.default_rng(2).dirichlet(np.ones(C), size=(2, K, C))
    head = head._replace(confusion=confusion, learned_transition=learned)
    found = e_step.write(as_float32(head), as_float32(train))
    for k in range(K):
        _, labels, residual, _ = by_hand(head, train, k)
        np.testing.assert_allclose(found.labels[k].T, labels, atol=1e-5)
        np.testing.assert_allclose(found.residual[k].T, residual, atol=1e-5)


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
    head, train = as_float32(problem)
    found = e_step.sums(head._replace(weights=1e4 * head.weights), train)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
