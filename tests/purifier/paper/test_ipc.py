import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.paper import ipc

N, M, D, C = 40, 12, 6, 3


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    return {
        "labels": rng.random((N, C)),
        "features": rng.normal(size=(N, D)),
        "weight": rng.random(N) + 0.5,
        "val_features": rng.normal(size=(M, D)),
        "val_targets": np.eye(C)[rng.integers(C, size=M)],
        "val_weight": (rng.random(M) < 0.7).astype(float),
    }


def call(function, problem, entropy_weight=1.0, penalty=0.7, dtype=jnp.float32):
    p = {name: jnp.asarray(value, dtype) for name, value in problem.items()}
    factor = ridge.inverse(ridge.gram(p["features"], p["weight"]), jnp.asarray(penalty, dtype))
    return function(p["labels"], p["features"], p["weight"], factor, validation(p), entropy_weight)


def validation(p):
    return ipc.Validation(p["val_features"], p["val_targets"], p["val_weight"])


def label_loss(labels, features, weight, inverse, val, entropy_weight):
    """`ipc.moment_loss` as a function of the labels [n, c], for features [n, d] and row weights [n]."""
    return ipc.moment_loss(matmul(features.T, weight[:, None] * labels), inverse, val, entropy_weight)


label_gradient = jax.grad(label_loss)


def numpy_loss_and_gradient(problem, entropy_weight, penalty=0.7):
    """Eq. 6 and its gradient in closed form, F A^-1 F_v^T G, in float64."""
    p = problem
    weighted = p["features"] * p["weight"][:, None]
    inverse = np.linalg.inv(p["features"].T @ weighted + penalty * np.eye(D))
    predictions = p["val_features"] @ inverse @ weighted.T @ p["labels"]
    exponents = np.exp(predictions - predictions.max(axis=1, keepdims=True))
    q = exponents / exponents.sum(axis=1, keepdims=True)
    entropy = -(q * np.log(q)).sum(axis=1, keepdims=True)
    squared = ((predictions - p["val_targets"]) ** 2).sum(axis=1, keepdims=True)
    share = (p["val_weight"] / p["val_weight"].sum())[:, None]
    loss = (share * (squared + entropy_weight * entropy)).sum()
    outer = 2 * (predictions - p["val_targets"]) - entropy_weight * q * (np.log(q) + entropy)
    return loss, weighted @ inverse @ p["val_features"].T @ (share * outer)


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0, 3.0])
def test_gradient_is_the_closed_form(problem, entropy_weight):
    loss, gradient = numpy_loss_and_gradient(problem, entropy_weight)
    np.testing.assert_allclose(call(label_loss, problem, entropy_weight), loss, rtol=1e-5)
    found = call(label_gradient, problem, entropy_weight)
    np.testing.assert_allclose(found, gradient, atol=1e-5 * np.abs(gradient).max())


def test_gradient_is_the_finite_difference_in_float64(problem):
    with jax.enable_x64(True):
        gradient = np.asarray(call(label_gradient, problem, dtype=jnp.float64))
        rng = np.random.default_rng(1)
        for _ in range(5):
            direction = rng.normal(size=(N, C))
            ends = [
                float(
                    call(
                        label_loss,
                        {**problem, "labels": problem["labels"] + step * direction},
                        dtype=jnp.float64,
                    )
                )
                for step in (1e-5, -1e-5)
            ]
            slope = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-6)


def test_softmaxed_labels_follow_the_chain_rule(problem):
    def through_softmax(labels, *rest):
        return label_loss(jax.nn.softmax(labels), *rest)

    probs = np.exp(problem["labels"]) / np.exp(problem["labels"]).sum(axis=1, keepdims=True)
    _, inner = numpy_loss_and_gradient({**problem, "labels": probs}, 1.0)
    oracle = probs * (inner - (probs * inner).sum(axis=1, keepdims=True))
    found = call(jax.grad(through_softmax), problem)
    np.testing.assert_allclose(found, oracle, atol=1e-5 * np.abs(oracle).max())


def test_gradient_through_the_moment_is_the_same(problem):
    """All that the loss knows of the labels is F^T diag(weight) Y."""
    p = {name: jnp.asarray(value, jnp.float32) for name, value in problem.items()}
    factor = ridge.inverse(ridge.gram(p["features"], p["weight"]), 0.7)
    moment = p["features"].T @ (p["weight"][:, None] * p["labels"])
    direction = ipc.moment_gradient(moment, factor, validation(p), 1.0)
    _, oracle = numpy_loss_and_gradient(problem, 1.0)
    found = p["weight"][:, None] * (p["features"] @ direction)
    np.testing.assert_allclose(found, oracle, atol=1e-5 * np.abs(oracle).max())


def test_held_out_rows_do_not_count(problem):
    changed = problem["val_targets"].copy()
    changed[problem["val_weight"] == 0] = 1.0 / C
    before = call(label_gradient, problem)
    after = call(label_gradient, {**problem, "val_targets": changed})
    np.testing.assert_array_equal(before, after)


def test_curvature_is_the_top_eigenvalue(problem):
    features = jnp.asarray(problem["features"], jnp.float32)
    val_features = jnp.asarray(problem["val_features"], jnp.float32)
    gram = ridge.gram(features)
    found = ipc.curvature(gram, ridge.inverse(gram, 0.7), val_features, iterations=200)
    inverse = np.linalg.inv(problem["features"].T @ problem["features"] + 0.7 * np.eye(D))
    k = problem["val_features"] @ inverse @ problem["features"].T
    np.testing.assert_allclose(found, np.linalg.norm(k, 2) ** 2, rtol=1e-3)


def test_a_step_of_that_unit_lowers_the_loss(problem):
    features = jnp.asarray(problem["features"], jnp.float32)
    gram = ridge.gram(features)
    unit = 1 / ipc.curvature(
        gram, ridge.inverse(gram, 0.7), jnp.asarray(problem["val_features"], jnp.float32)
    )
    plain = {**problem, "weight": np.ones(N), "val_weight": np.ones(M)}
    before = call(label_loss, plain, entropy_weight=0.0)
    # The loss is a mean of squares; the unit belongs to half their sum.
    step = 0.5 * M * unit * call(label_gradient, plain, entropy_weight=0.0)
    after = call(label_loss, {**plain, "labels": problem["labels"] - np.asarray(step)}, entropy_weight=0.0)
    assert after < before


def test_curvature_of_empty_features_is_zero():
    zeros = jnp.zeros((4, 3))
    gram = ridge.gram(zeros)
    assert ipc.curvature(gram, ridge.inverse(gram, 1.0), zeros) == 0


def test_to_simplex():
    labels = np.array([[0.5, 0.5, 0.0], [-1.0, 2.0, 2.0], [-1.0, -1.0, 0.0]], np.float32)
    expected = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(ipc.to_simplex(labels), expected, atol=1e-6)
