"""Nesterov's steps against scikit-learn, NumPy and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dmlp_jax.purifier.base import nesterov, ridge
from dmlp_jax.purifier.base.ridge import matmul
from tests.purifier.helpers import cross_entropy_gradient, make_linear_classes

N, D, C = 80, 6, 3


@pytest.fixture(scope="module")
def problem():
    return make_linear_classes(N, D, C)


def test_nesterov_steps_reach_scikit_learns_optimum(problem):
    features, labels, targets = problem
    decay = 0.5
    bound = nesterov.preconditioner(ridge.gram(features), jnp.zeros((D, D)), 0.0, decay)
    state = nesterov.init_nesterov(jnp.zeros((D, C)))
    for momentum in nesterov.nesterov_momentum(150):
        probs = jax.nn.softmax(features @ state.lookahead)
        gradient = cross_entropy_gradient(features, probs, targets, jnp.ones(N))
        state = nesterov.nesterov_step(state, gradient + decay * state.lookahead, bound, momentum)
    oracle = LogisticRegression(C=1 / decay, fit_intercept=False, tol=1e-8, max_iter=1000).fit(
        features, labels
    )
    centred = state.weights - state.weights.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred, oracle.coef_.T, atol=2e-3)


def test_momentum_is_beck_and_teboulles():
    golden = (1 + 5**0.5) / 2  # t_2
    third = (1 + (1 + 4 * golden**2) ** 0.5) / 2
    np.testing.assert_allclose(nesterov.nesterov_momentum(2), [0, (golden - 1) / third], rtol=1e-6)
    # t_k grows like k / 2, so the momentum like 1 - 3 / k.
    np.testing.assert_allclose(1 - nesterov.nesterov_momentum(1000)[-1], 3 / 1000, rtol=0.02)


def test_preconditioner_bounds_the_hessian(problem):
    features, _, _ = problem
    rng = np.random.default_rng(1)
    val = rng.normal(size=(10, D)).astype(np.float32)
    val_weight, decay = 2.0, 0.3
    bound = nesterov.preconditioner(ridge.gram(features), ridge.gram(val), val_weight, decay)
    inverse = np.asarray(matmul(bound, jnp.eye(D)), np.float64)

    def loss(flat):
        weights = flat.reshape(D, C)
        logits = [features @ weights, val @ weights]
        total = -jnp.sum(jax.nn.log_softmax(logits[0])[:, 0])
        total += -val_weight * jnp.sum(jax.nn.log_softmax(logits[1])[:, 0])
        return total + 0.5 * decay * jnp.sum(flat**2)

    for scale in (0.0, 0.5, 3.0):
        point = jnp.asarray(scale * rng.normal(size=D * C), jnp.float32)
        hessian = np.asarray(jax.hessian(loss)(point), np.float64)
        half = np.linalg.cholesky(np.kron(inverse, np.eye(C)))
        assert np.linalg.eigvalsh(half.T @ hessian @ half).max() <= 1 + 1e-4


def test_cross_entropy_gradient_is_autodiffs(problem):
    features, _, targets = problem
    rng = np.random.default_rng(2)
    weight = rng.random(N).astype(np.float32)
    weights = jnp.asarray(rng.normal(size=(D, C)), jnp.float32)

    def loss(weights):
        return -jnp.sum(weight[:, None] * targets * jax.nn.log_softmax(features @ weights))

    found = cross_entropy_gradient(features, jax.nn.softmax(features @ weights), targets, weight)
    np.testing.assert_allclose(found, jax.grad(loss)(weights), atol=1e-4)
