import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.posterior import e_step, transition


def test_expectation_maximisation_finds_the_noise():
    """With p(y | x) known, iterating counts of the posterior recovers T."""
    rng = np.random.default_rng(1)
    matrix = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    probs = rng.dirichlet(np.full(3, 0.3), size=20_000)
    true = (probs.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    given = (matrix[true].cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    one_hot, weight = jnp.eye(3)[given], jnp.ones(20_000)
    soft = jnp.asarray(probs, jnp.float32)

    def again(_, found):
        labels = e_step.bayes(soft.T[None], (one_hot @ found.T).T[None])[0][0].T
        return transition.transition_matrix(transition.soft_counts(labels, one_hot, weight))

    start = transition.transition_matrix(transition.soft_counts(soft, one_hot, weight))
    found = jax.jit(lambda: jax.lax.fori_loop(0, 200, again, start))()
    np.testing.assert_allclose(found, matrix, atol=0.03)


def test_rows_sum_to_one_and_an_empty_class_is_like_the_others():
    matrix = np.asarray(transition.transition_matrix(jnp.asarray([[8.0, 2.0], [0.0, 0.0]])))
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix[1], [0.2, 0.8], rtol=1e-5)
    assert np.all(matrix > 0)


def test_counts_are_weighted():
    probs, given = jnp.asarray([[0.9, 0.1], [0.2, 0.8]]), jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    counts = transition.soft_counts(probs, given, jnp.asarray([2.0, 0.0]))
    np.testing.assert_allclose(counts, [[1.8, 0.0], [0.2, 0.0]], atol=1e-6)


def test_class_blind_noise_finds_what_the_noise_gives():
    """Counts of noise that draws from q and never gives the true class, whatever the classes' sizes."""
    q, sizes = np.array([0.5, 0.3, 0.2]), np.array([1000.0, 100.0, 10.0])
    truth = 0.7 * np.eye(3) + 0.3 * (1 - np.eye(3)) * q / (1 - q)[:, None]
    found = transition.class_blind(jnp.asarray(sizes[:, None] * truth))
    np.testing.assert_allclose(found, truth, atol=1e-3)


@pytest.mark.parametrize("strength", [3.0, 30.0])
def test_prior_strength_is_that_of_the_rows(strength):
    """Rows drawn from Dirichlet distributions of known strength, counts from the rows."""
    rng = np.random.default_rng(0)
    classes = 60
    prior = 0.6 * np.eye(classes) + 0.4 / (classes - 1) * (1 - np.eye(classes))
    drawn = np.stack([rng.dirichlet(strength * row) for row in prior])
    counts = np.stack([rng.multinomial(500, row) for row in drawn]).astype(np.float32)
    found = float(transition.prior_strength(jnp.asarray(counts), jnp.asarray(prior, jnp.float32)))
    assert strength / 1.5 < found < strength * 1.5


def test_few_rows_of_many_classes_show_no_structure():
    """Five rows a class: the estimate is nearer to the truth than the counts are."""
    rng = np.random.default_rng(0)
    classes = 100
    truth = 0.6 * np.eye(classes) + 0.4 / (classes - 1) * (1 - np.eye(classes))
    counts = np.stack([rng.multinomial(5, row) for row in truth]).astype(np.float32)
    found = transition.transition_matrix(jnp.asarray(counts))
    np.testing.assert_allclose(found, truth, atol=0.1)
    assert np.abs(counts / 5 - truth).max() > 0.3


def test_many_rows_show_their_structure():
    truth = np.array([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    found = transition.transition_matrix(jnp.asarray(10_000 * truth, jnp.float32))
    np.testing.assert_allclose(found, truth, atol=1e-3)
