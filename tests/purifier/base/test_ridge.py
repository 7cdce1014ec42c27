import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    # Non-negative features of very different scales: the usual conditioning of a ReLU backbone.
    features = np.abs(rng.normal(size=(120, 20))) * np.logspace(0, -2, 20)
    return features.astype(np.float32), rng.random((120, 3)).astype(np.float32)


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 100.0])
def test_solution_is_the_float64_one(problem, penalty):
    features, labels = problem
    wide, targets = features.astype(np.float64), labels.astype(np.float64)
    oracle = np.linalg.solve(wide.T @ wide + penalty * np.eye(20), wide.T @ targets)
    found = matmul(ridge.inverse(ridge.gram(features), penalty), features.T @ labels)
    np.testing.assert_allclose(found, oracle, atol=2e-4 * np.abs(oracle).max())


def test_solution_is_scikit_learns_with_row_weights(problem):
    features, labels = problem
    weight = np.random.default_rng(1).random(120).astype(np.float32)
    oracle = Ridge(alpha=0.5, fit_intercept=False, solver="cholesky")
    oracle.fit(features.astype(np.float64), labels.astype(np.float64), sample_weight=weight)
    bound = ridge.inverse(ridge.gram(features, weight), 0.5)
    found = matmul(bound, features.T @ (weight[:, None] * labels))
    np.testing.assert_allclose(found, oracle.coef_.T, atol=2e-4)


def test_factor_inverts(problem):
    features, _ = problem
    gram = np.asarray(ridge.gram(features), np.float64)
    bound = ridge.inverse(ridge.gram(features), 0.1)
    eye = np.eye(20, dtype=np.float32)
    np.testing.assert_allclose(matmul(bound, eye) @ (gram + 0.1 * np.eye(20)), eye, atol=1e-3)


def test_vmap_over_label_sets_is_one_solve_each(problem):
    features, labels = problem
    bound = ridge.inverse(ridge.gram(features), 1.0)
    both = np.stack([features.T @ labels, features.T @ labels[::-1]])
    found = jax.vmap(matmul, in_axes=(None, 0))(bound, both)
    for moment, solution in zip(both, found, strict=True):
        np.testing.assert_allclose(solution, matmul(bound, moment), atol=1e-5)


def test_mean_eigenvalue_scales_with_the_data(problem):
    features, _ = problem
    gram = ridge.gram(features)
    np.testing.assert_allclose(
        ridge.mean_eigenvalue(gram), np.linalg.eigvalsh(np.asarray(gram, np.float64)).mean(), rtol=1e-5
    )


def test_lapack_is_never_called_on_a_batch(problem):
    """Batched LAPACK calls of jaxlib 0.10 can wait for each other for ever on CPU."""
    features, labels = problem
    gram, penalties = ridge.gram(features), np.asarray([0.1, 1.0, 10.0], np.float32)
    mapped = jax.vmap(lambda p: (ridge.solve(gram, p, features.T @ labels), ridge.inverse(gram, p)))
    solutions, inverses = jax.jit(mapped)(penalties)
    for penalty, solution, inverse in zip(penalties, solutions, inverses, strict=True):
        np.testing.assert_allclose(solution, ridge.solve(gram, penalty, features.T @ labels), rtol=1e-4)
        np.testing.assert_allclose(inverse, ridge.inverse(gram, penalty), rtol=1e-4)
    both = jax.vmap(lambda scale: ridge.spectrum(scale * gram))
    calls = jax.jit(mapped).lower(penalties).as_text() + jax.jit(both).lower(penalties).as_text()
    calls = [line for line in calls.splitlines() if "lapack" in line]
    assert calls
    assert not [line for line in calls if "tensor<3x" in line]
