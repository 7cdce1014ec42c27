import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, logsumexp, softmax

from dmlp_jax.purifier.base import conditional_logit

M, C, P = 60, 3, 4
WITH_LAPSES = jax.jit(conditional_logit.fit, static_argnames="steps")


@jax.jit
def weights(*arguments):
    return conditional_logit.fit(*arguments).theta


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
    np.testing.assert_allclose(weights(*in_float32(arguments)), by_scipy(*arguments), atol=2e-4)


def test_a_start_far_off_does_not_lose_the_way():
    features, targets, weight, offset, mean, deviation = problem()
    arguments = features, targets, weight, offset, mean + 3.0, 10 * deviation
    np.testing.assert_allclose(weights(*in_float32(arguments)), by_scipy(*arguments), atol=2e-3)


@pytest.mark.parametrize("silent", ["no weight", "equal for all classes"])
def test_rows_that_say_nothing_leave_the_prior(silent):
    features, targets, weight, offset, mean, deviation = problem()
    if silent == "no weight":
        weight = np.zeros(M)
    else:
        features = np.broadcast_to(features[:, :1], features.shape)
    found = weights(*in_float32((features, targets, weight, offset, mean, deviation)))
    np.testing.assert_allclose(found, mean, atol=1e-5)


def test_rows_of_weight_zero_do_not_count():
    arguments = in_float32(problem())
    features, targets, weight = arguments[:3]
    poisoned = [
        jnp.where((weight > 0)[:, None, None], features, 50.0 * features),
        jnp.where((weight > 0)[:, None], targets, 1.0 - targets),
    ]
    np.testing.assert_allclose(weights(*poisoned, *arguments[2:]), weights(*arguments), atol=1e-6)


def test_rows_that_are_told_apart_without_error_stay_finite():
    """The likelihood alone has no maximum there; the widest prior still has one."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(M, C, P))
    targets = np.eye(C)[np.argmax(features[:, :, 0], axis=1)]
    rest = np.ones(M), np.zeros((M, C)), np.ones(P), np.full(P, 1e3)
    found = np.asarray(weights(*in_float32((features, targets, *rest))))
    assert np.all(np.isfinite(found))
    assert found[0] > 5
    assert np.all(np.argmax(features @ found, axis=1) == np.argmax(targets, axis=1))


def test_mapped_over_problems_is_each_alone():
    several = [in_float32(problem(seed)) for seed in range(3)]
    stacked = [jnp.stack(arrays) for arrays in zip(*several, strict=True)]
    found = jax.jit(jax.vmap(weights))(*stacked)
    np.testing.assert_allclose(found, np.stack([weights(*arguments) for arguments in several]), atol=1e-4)


def rows_with_lapses(seed, lapse, count=4000):
    """Classes drawn from the model itself."""
    rng = np.random.default_rng(seed)
    features, theta = rng.normal(size=(count, C, P)), np.array([3.0, -2.0, 1.0, 0.0])
    probs = softmax(features @ theta, axis=1)
    probs = (1 - lapse) * probs + lapse / C
    drawn = np.array([rng.choice(C, p=row) for row in probs])
    prior = np.zeros((count, C)), np.zeros(P), np.full(P, 10.0)
    return (features, np.eye(C)[drawn], np.ones(count), *prior), theta


@pytest.mark.parametrize("lapse", [0.0, 0.15])
def test_lapses_are_told_from_unsure_rows(lapse):
    arguments, theta = rows_with_lapses(0, lapse)
    found = WITH_LAPSES(*in_float32(arguments), 0.01, 20.0, steps=60)
    assert float(found.lapse) == pytest.approx(lapse, abs=0.03)
    np.testing.assert_allclose(found.theta, theta, atol=0.35)
    if lapse:
        # Without them every weight is too small.
        assert np.linalg.norm(weights(*in_float32(arguments))) < 0.8 * np.linalg.norm(theta)


def test_with_lapses_the_fit_is_scipys():
    (features, targets, weight, offset, mean, deviation), _ = rows_with_lapses(1, 0.1, 300)
    mode, rows = 0.02, 50.0

    def loss(parameters):
        theta, rate = parameters[:-1], 1 / (1 + np.exp(-parameters[-1]))
        probs = (1 - rate) * softmax(features @ theta + offset, axis=1) + rate / C
        prior = rows * (mode * np.log(rate) + (1 - mode) * np.log1p(-rate))
        return 0.5 * np.sum(((theta - mean) / deviation) ** 2) - np.sum(targets * np.log(probs)) - prior

    best = scipy.optimize.minimize(loss, np.r_[mean, -3.0], method="BFGS", options={"gtol": 1e-7}).x
    arguments = in_float32((features, targets, weight, offset, mean, deviation))
    found = WITH_LAPSES(*arguments, mode, rows, steps=200)
    np.testing.assert_allclose(found.theta, best[:-1], atol=5e-3)
    assert float(found.lapse) == pytest.approx(1 / (1 + np.exp(-best[-1])), abs=1e-3)


def test_a_lapse_rate_of_zero_stays():
    found = WITH_LAPSES(*in_float32(problem()), steps=10)
    assert float(found.lapse) == 0.0


def test_few_rows_leave_the_lapse_rate_near_its_prior():
    features, _, *rest = problem()
    right = np.eye(C)[np.argmax(features @ rest[2] + rest[1], axis=1)]
    few = np.where(np.arange(M) < 3, 1.0, 0.0)
    found = WITH_LAPSES(*in_float32((features, right, few, *rest[1:])), 0.01, 20.0, steps=20)
    assert 0.005 < float(found.lapse) < 0.05


def test_lapses_spread_over_all_classes():
    probs = jnp.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    expected = [[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3], [0.45 + 0.1 / 3, 0.45 + 0.1 / 3, 0.1 / 3]]
    np.testing.assert_allclose(conditional_logit.with_lapses(probs, 0.1), expected, atol=1e-6)
    np.testing.assert_allclose(conditional_logit.with_lapses(probs.T, 0.1, axis=0).T, expected, atol=1e-6)


@pytest.mark.parametrize("lapse", [0.0, 0.05])
def test_the_evidence_is_the_integral_over_the_prior(lapse):
    """By importance sampling from the prior, of which two numbers leave enough samples in the right place."""
    features, targets, weight, offset, mean, deviation = problem()
    features, mean, deviation = features[:, :, :2], mean[:2], deviation[:2]
    targets = np.eye(C)[np.argmax(targets, axis=1)]
    arguments = in_float32((features, targets, weight, offset, mean, deviation))
    fitted = WITH_LAPSES(*arguments, lapse, 1e6, steps=30)
    found = conditional_logit.log_evidence(*arguments, fitted)
    theta = mean + deviation * np.random.default_rng(1).normal(size=(20_000, 2))
    probs = softmax(np.einsum("mcp,sp->smc", features, theta) + offset, axis=-1)
    probs = (1 - float(fitted.lapse)) * probs + float(fitted.lapse) / C
    likelihoods = np.sum(targets * np.log(probs), axis=-1) @ weight
    np.testing.assert_allclose(found, logsumexp(likelihoods) - np.log(len(theta)), atol=0.05)


def test_rows_of_no_weight_are_no_evidence():
    features, targets, _, offset, mean, deviation = problem()
    arguments = in_float32((features, targets, np.zeros(M), offset, mean, deviation))
    fitted = WITH_LAPSES(*arguments, 0.02, 20.0, steps=5)
    np.testing.assert_allclose(conditional_logit.log_evidence(*arguments, fitted), 0, atol=1e-5)
