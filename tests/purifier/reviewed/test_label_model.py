import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.special import log_softmax, softmax

from dmlp_jax.purifier.base.conditional_logit import ConditionalLogit
from dmlp_jax.purifier.posterior import e_step
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.reviewed import label_model
from dmlp_jax.purifier.reviewed.class_maps import ClassMaps
from dmlp_jax.purifier.reviewed.evidence import NoiseEvidence
from dmlp_jax.purifier.reviewed.label_model import FixedClassifiers, ReviewedModel
from dmlp_jax.purifier.rows.chunks import Chunk

K, N, D, C = 2, 64, 5, 3
PENALTY = 3.0

# Ridge regression is linear here, without a kernel: `kernel.similarities` gives the features themselves.
posterior = jax.jit(lambda model, fixed, *args: label_model.posterior(model, fixed, None, *args))
sums = jax.jit(lambda model, fixed, *args: label_model.sums(posterior(model, fixed, *args), args[0]))
first_sums = jax.jit(
    lambda ridge, leverage, fixed, chunk: label_model.first_sums(ridge, leverage, fixed, None, chunk)
)


def as_float32(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def design():
    """Rows of equal leverage: two blocks of orthogonal columns, the second of weight 2."""
    block = hadamard(N // 2)[:, 1 : D + 1].astype(float)
    weight = np.repeat([1.0, 2.0], N // 2)
    features = np.concatenate([block, block[:, ::-1]])
    return features, weight, D / (weight.sum() + PENALTY)


def solve(features, targets, weight):
    weighted = features.T * weight
    return np.linalg.solve(weighted @ features + PENALTY * np.eye(D), weighted @ (targets - 1 / C))


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    features, weight, leverage = design()
    given = np.eye(C)[rng.integers(C, size=N)]
    model = ReviewedModel(
        np.stack([solve(features, rng.dirichlet(np.ones(C), size=N), weight) for _ in range(K)]),
        np.full(K, leverage),
        ClassMaps(3 * rng.normal(size=(K, C, C)), rng.normal(size=(K, C))),
        rng.uniform(1, 3, 4),
        ConditionalLogit(np.r_[rng.uniform(0.1, 0.5, 4), 0.4, 0.7], np.array(0.06)),
        NoiseEvidence(rng.normal(size=(C, C)), np.array(1.5)),
    )
    default = LabelModel(
        rng.normal(size=(K, D, C)),
        rng.dirichlet(np.ones(C), size=(K, C)),
        np.array([0.5, 0.3]),
        np.array([0.1, 0.2]),
        np.array([0.7, 1.3]),
    )
    fixed = FixedClassifiers(rng.normal(size=(K, D, C)), default)
    return model, fixed, Chunk(features, given, weight)


def by_hand(model, fixed, chunk, k, target=None):
    """Labels and leave-one-out scores [N, C] in float64; by default the target is the model's own label."""
    raw = chunk.features @ model.ridge[k]
    default = e_step.leave_one_out_probs(as_float32(fixed.default), as_float32(chunk)).logits[k].T
    (theta, lapse) = model.combination
    weights, (b, a) = theta[:4], theta[4:]
    of_given = np.log(
        np.exp(b * (chunk.given @ model.evidence.pattern.T) + a * model.evidence.log_odds * chunk.given)
    )

    def labels_of(scores):
        mapped = scores @ model.maps.weights[k] + model.maps.bias[k]
        predictions = scores, mapped, chunk.features @ fixed.probe[k], np.asarray(default, float)
        logits = of_given + sum(
            weight * log_softmax(scale * logits, axis=1)
            for weight, scale, logits in zip(weights, model.scales, predictions, strict=True)
        )
        return (1 - lapse) * softmax(logits, axis=1) + lapse / C

    target = labels_of(raw) if target is None else target
    share = model.leverage[k] * chunk.weight[:, None]
    alone = (raw - share * (target - 1 / C)) / (1 - share)
    return labels_of(alone), alone


@pytest.mark.parametrize("on_given", [False, True])
def test_labels_weigh_the_evidence(problem, on_given):
    model, fixed, chunk = problem
    found = posterior(as_float32(model), as_float32(fixed), as_float32(chunk), on_given)
    for k in range(K):
        labels, alone = by_hand(model, fixed, chunk, k, chunk.given if on_given else None)
        np.testing.assert_allclose(found.labels[k].T, labels, atol=1e-5)
        np.testing.assert_allclose(found.scores[k].T, alone, atol=1e-5)


def test_bayes_rule_is_the_case_of_weights_that_sum_to_one(problem):
    """One classifier, and evidence of a transition matrix T: Q ~ P T[:, given]."""
    model, fixed, chunk = problem
    rng = np.random.default_rng(1)
    matrix = 0.7 * np.eye(C) + 0.1
    rate = 0.2
    flat = np.where(np.eye(C) > 0, 1 - rate, rate / (C - 1))
    noise = NoiseEvidence(np.log(matrix / flat), np.log((1 - rate) * (C - 1) / rate))
    probe = np.stack([rng.normal(size=(D, C))] * K)
    combination = ConditionalLogit(np.array([0, 0, 1, 0, 1, 1.0]), np.array(0.0))
    model = model._replace(scales=np.ones(4), combination=combination, evidence=as_float32(noise))
    found = posterior(as_float32(model), as_float32(fixed._replace(probe=probe)), as_float32(chunk), False)
    joint = softmax(chunk.features @ probe[0], axis=1) * (chunk.given @ matrix.T)
    np.testing.assert_allclose(found.labels[0].T, joint / joint.sum(axis=1, keepdims=True), atol=1e-5)


def test_leave_one_out_scores_are_those_of_fits_without_the_row(problem):
    features, weight, leverage = design()
    targets = np.random.default_rng(2).dirichlet(np.ones(C), size=N)
    scores = (features @ solve(features, targets, weight)).T[None]
    arrays = as_float32((scores, targets.T[None], np.array([leverage]), weight))
    found = np.asarray(label_model.leave_one_out(*arrays))[0].T
    for row in range(N):
        kept = np.arange(N) != row
        alone = features[row] @ solve(features[kept], targets[kept], weight[kept])
        np.testing.assert_allclose(found[row], alone, atol=1e-5)


def test_a_row_that_alone_decides_its_score_stays_finite():
    scores = jnp.ones((1, C, 2))
    found = label_model.leave_one_out(scores, scores / C, jnp.array([1.0]), jnp.array([1.0, 50.0]))
    assert np.all(np.isfinite(found))


def test_labels_before_need_not_be_kept(problem):
    """The model's own label, in place of the row's label of the round before, changes little.

    Here a row's leverage is .05 or .1; with more rows than 64 it is less.
    """
    model, fixed, chunk = problem
    targets = chunk.given
    for _ in range(4):
        before = targets
        model = model._replace(ridge=np.stack([solve(chunk.features, before, chunk.weight)] * K))
        targets = by_hand(model, fixed, chunk, 0, before)[0]
    own = posterior(as_float32(model), as_float32(fixed), as_float32(chunk), False).labels[0].T
    assert np.mean(np.abs(own - targets)) < 5e-3


def test_sums_are_those_of_the_rows(problem):
    model, fixed, chunk = problem
    found = sums(as_float32(model), as_float32(fixed), as_float32(chunk), False)
    weight = chunk.weight[:, None]
    for k in range(K):
        labels, alone = by_hand(model, fixed, chunk, k)
        np.testing.assert_allclose(found.moment[k], chunk.features.T @ (weight * (labels - 1 / C)), atol=1e-3)
        np.testing.assert_allclose(found.scores.counts[k], (weight * labels).sum(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found.scores.products[k], (weight * labels).T @ alone, atol=1e-3)
        np.testing.assert_allclose(found.scores.scatter[k], (weight * alone).T @ alone, atol=1e-3)
    np.testing.assert_allclose(found.counts, (weight * labels).T @ chunk.given, atol=1e-3)


def test_the_first_sums_are_of_the_given_labels(problem):
    """With the counts of the default classifier, whose predictions have not seen the row's given label."""
    model, fixed, chunk = problem
    found = first_sums(*as_float32((model.ridge, model.leverage, fixed, chunk)))
    weight, share = chunk.weight[:, None], model.leverage[0] * chunk.weight[:, None]
    for k in range(K):
        alone = (chunk.features @ model.ridge[k] - share * (chunk.given - 1 / C)) / (1 - share)
        np.testing.assert_allclose(found.scores.products[k], (weight * chunk.given).T @ alone, atol=1e-3)
        np.testing.assert_allclose(
            found.moment[k], chunk.features.T @ (weight * (chunk.given - 1 / C)), atol=1e-3
        )
    probs = e_step.leave_one_out_probs(*as_float32((fixed.default, chunk))).leave_one_out[-1].T
    np.testing.assert_allclose(found.counts, (weight * probs).T @ chunk.given, atol=1e-3)
