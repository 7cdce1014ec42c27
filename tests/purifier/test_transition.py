import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier import posterior, transition


def test_expectation_maximisation_finds_the_noise():
    """With p(y | x) known, iterating counts of the posterior recovers T."""
    rng = np.random.default_rng(1)
    matrix = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    probs = rng.dirichlet(np.full(3, 0.3), size=20_000)
    true = (probs.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    given = (matrix[true].cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    one_hot, weight = jnp.eye(3)[given], jnp.ones(20_000)
    soft, ones = jnp.asarray(probs, jnp.float32), jnp.ones((1, 1, 20_000))
    found = transition.transition_matrix(transition.soft_counts(soft, one_hot, weight))
    for _ in range(200):
        labels = posterior.bayes(soft.T[None], ones, (one_hot @ found.T).T[None])[0][0].T
        found = transition.transition_matrix(transition.soft_counts(labels, one_hot, weight))
    np.testing.assert_allclose(found, matrix, atol=0.03)


def test_rows_sum_to_one_and_an_empty_class_is_uniform():
    matrix = np.asarray(transition.transition_matrix(jnp.asarray([[8.0, 2.0], [0.0, 0.0]])))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix[1], 0.5)
    assert np.all(matrix > 0)


def test_counts_are_weighted():
    probs, given = jnp.asarray([[0.9, 0.1], [0.2, 0.8]]), jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    counts = transition.soft_counts(probs, given, jnp.asarray([2.0, 0.0]))
    np.testing.assert_allclose(counts, [[1.8, 0.0], [0.2, 0.0]], atol=1e-6)
