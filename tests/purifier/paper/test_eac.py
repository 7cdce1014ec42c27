import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.paper import eac
from tests.purifier.helpers import make_linear_classes, numpy_softmax

N, D, C = 80, 6, 3


@pytest.fixture(scope="module")
def problem():
    return make_linear_classes(N, D, C)


def test_classifier_loss_is_the_papers(problem):
    features, _, targets = problem
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(D, C))
    row_weight = np.r_[np.ones(60), np.zeros(20)]
    probs = numpy_softmax(features.astype(np.float64) @ weights)
    per_row = -(targets * np.log(probs)).sum(axis=1) - 0.7 * (probs * np.log(probs)).sum(axis=1)
    logits = jnp.asarray((features @ weights).T, jnp.float32)
    found = eac.classifier_loss(logits, targets.T, jnp.asarray(row_weight, jnp.float32), 0.7)
    np.testing.assert_allclose(found, per_row[:60].mean(), rtol=1e-5)


def loss_at(weights, features, targets, entropy_weight):
    return eac.classifier_loss((features @ weights).T, targets.T, jnp.ones(N), entropy_weight)


def test_adam_steps_are_the_textbooks(problem):
    features, _, targets = problem
    weights = np.zeros((D, C))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    state_weights = jnp.zeros((D, C))
    state = eac.adam().init(state_weights)
    for step in range(1, 6):
        probs = numpy_softmax(features.astype(np.float64) @ weights)
        gradient = features.T @ (probs - targets) / N
        first = 0.5 * first + 0.5 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        direction = first / (1 - 0.5**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights = weights - 0.1 * direction
        found = jax.grad(loss_at)(state_weights, features, targets, 0.0)
        state_weights, state = eac.adam_step(state_weights, state, found, 0.1)
    np.testing.assert_allclose(state_weights, weights, atol=1e-4)


def test_members_update_independently_under_vmap(problem):
    features, _, targets = problem
    starts = jnp.stack([jnp.zeros((D, C)), jnp.ones((D, C))])
    states = jax.vmap(eac.adam().init)(starts)
    gradients = jnp.stack([jax.grad(loss_at)(start, features, targets, 1.0) for start in starts])
    together, _ = jax.vmap(eac.adam_step, in_axes=(0, 0, 0, None))(starts, states, gradients, 0.1)
    for start, gradient, found in zip(starts, gradients, together, strict=True):
        alone, _ = eac.adam_step(start, eac.adam().init(start), gradient, 0.1)
        np.testing.assert_allclose(found, alone, atol=1e-6)


def test_write_labels_takes_its_share():
    labels, predictions = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    np.testing.assert_allclose(eac.write_labels(labels, predictions, 0.25), [[0.75, 0.25]])
