import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dmlp_jax.purifier.reviewed import class_maps

N, C = 200, 4


@jax.jit
def fit(labels, scores, weight):
    return class_maps.fit(class_maps.score_sums(labels, scores, weight))


def problem(seed=0, scale=1.0):
    """Labels [2, C, N] one-hot and scores [2, C, N] of two classifiers, class-major, and row weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(C, size=(2, N))
    means = rng.normal(size=(2, C, C))
    mixing = rng.normal(size=(C, C))
    scores = np.stack([means[k][labels[k]] + 0.3 * rng.normal(size=(N, C)) @ mixing for k in range(2)])
    return labels, scale * scores, rng.integers(0, 3, N)


def class_major(labels, scores, weight):
    one_hot = np.eye(C)[labels]
    return [jnp.asarray(a, jnp.float32) for a in (one_hot.swapaxes(1, 2), scores.swapaxes(1, 2), weight)]


def by_scikit_learn(labels, scores, weight):
    """Logits [N, C] with the same penalty and a row of zeros added to every class, as the counts have.

    The covariance plus p mean eigenvalues is (1 + p) times scikit-learn's, shrunk by p / (1 + p).
    """
    penalty = class_maps.PENALTY
    rows = np.concatenate([np.repeat(scores, weight, axis=0), np.zeros((C, C))])
    classes = np.concatenate([np.repeat(labels, weight), np.arange(C)])
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=penalty / (1 + penalty)).fit(rows, classes)
    coefficients = lda.coef_ / (1 + penalty)
    half = np.sum(lda.means_ * coefficients, axis=1)
    return scores @ coefficients.T + np.log(lda.priors_) - 0.5 * half


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_maps_are_scikit_learns_discriminant_analysis(scale):
    labels, scores, weight = problem(scale=scale)
    found = fit(*class_major(labels, scores, weight))
    for k in range(2):
        logits = scores[k] @ np.asarray(found.weights[k], float) + np.asarray(found.bias[k])
        wanted = by_scikit_learn(labels[k], scores[k], weight)
        np.testing.assert_allclose(logits, wanted, rtol=1e-3, atol=2e-2)
        assert np.mean(logits.argmax(axis=1) == labels[k]) > 0.7


@pytest.mark.parametrize("case", ["a class without rows", "equal scores", "no rows", "scores of one column"])
def test_maps_of_poor_rows_are_finite(case):
    labels, scores, weight = problem()
    if case == "a class without rows":
        labels = np.where(labels == 2, 1, labels)
    elif case == "equal scores":
        scores = np.full_like(scores, 0.25)
    elif case == "no rows":
        weight = np.zeros(N)
    else:
        scores = scores * [1, 0, 0, 0]
    found = fit(*class_major(labels, scores, weight))
    assert np.all(np.isfinite(found.weights))
    assert np.all(np.isfinite(found.bias))
