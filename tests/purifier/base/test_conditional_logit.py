import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax

from dmlp_jax.purifier.base import conditional_logit

M, C, P = 60, 3, 4
FIT = jax.jit(conditional_logit.fit)


def problem(seed=0):
    """Random evidence, soft targets, weights of which a third are 0, offsets, a prior."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(M, C, P))
    targets = rng.dirichlet(np.ones(C), size=M)
    weight = np.where(np.arange(M) % 3 == 0, 0.0, rng.uniform(0.2, 3.0, M))
    return features, targets, weight, rng.normal(size=(M, C)), rng.normal(size=P), rng.uniform(0.1, 1.0, P)


def in_float32(arguments):
    return [jnp.asarray(array, jnp.float32) for array in arguments]


def by_scipy(features, targets, weight, offset, mean, deviation):
    def loss(theta):
        log_probs = log_softmax(features @ theta + offset, axis=1)
        return 0.5 * np.sum(((theta - mean) / deviation) ** 2) - np.sum(weight[:, None] * targets * log_probs)

    return scipy.optimize.minimize(loss, mean, method="BFGS", options={"gtol": 1e-7}).x


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_scipys(seed):
    arguments = problem(seed)
    np.testing.assert_allclose(FIT(*in_float32(arguments)), by_scipy(*arguments), atol=2e-4)


def test_a_start_far_off_does_not_lose_the_way():
    features, targets, weight, offset, mean, deviation = problem()
    arguments = features, targets, weight, offset, mean + 3.0, 10 * deviation
    np.testing.assert_allclose(FIT(*in_float32(arguments)), by_scipy(*arguments), atol=2e-3)


@pytest.mark.parametrize("silent", ["no weight", "equal for all classes"])
def test_rows_that_say_nothing_leave_the_prior(silent):
    features, targets, weight, offset, mean, deviation = problem()
    if silent == "no weight":
        weight = np.zeros(M)
    else:
        features = np.broadcast_to(features[:, :1], features.shape)
    found = FIT(*in_float32((features, targets, weight, offset, mean, deviation)))
    np.testing.assert_allclose(found, mean, atol=1e-5)


def test_rows_of_weight_zero_do_not_count():
    arguments = in_float32(problem())
    features, targets, weight = arguments[:3]
    poisoned = [
        jnp.where((weight > 0)[:, None, None], features, 50.0 * features),
        jnp.where((weight > 0)[:, None], targets, 1.0 - targets),
    ]
    np.testing.assert_allclose(FIT(*poisoned, *arguments[2:]), FIT(*arguments), atol=1e-6)


def test_rows_that_are_told_apart_without_error_stay_finite():
    """The likelihood alone has no maximum there; the widest prior still has one."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(M, C, P))
    targets = np.eye(C)[np.argmax(features[:, :, 0], axis=1)]
    rest = np.ones(M), np.zeros((M, C)), np.ones(P), np.full(P, 1e3)
    found = np.asarray(FIT(*in_float32((features, targets, *rest))))
    assert np.all(np.isfinite(found))
    assert found[0] > 5
    assert np.all(np.argmax(features @ found, axis=1) == np.argmax(targets, axis=1))


def test_mapped_over_problems_is_each_alone():
    several = [in_float32(problem(seed)) for seed in range(3)]
    stacked = [jnp.stack(arrays) for arrays in zip(*several, strict=True)]
    found = jax.jit(jax.vmap(conditional_logit.fit))(*stacked)
    np.testing.assert_allclose(found, np.stack([FIT(*arguments) for arguments in several]), atol=1e-4)
