import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base import reliability, scores


def test_scores_do_not_depend_on_the_logits_scale():
    rng = np.random.default_rng(2)
    logits = jnp.asarray(rng.normal(size=(50, 3)), jnp.float32)
    targets = jnp.eye(3)[rng.integers(3, size=50)]
    np.testing.assert_allclose(
        scores.score(logits, targets).cross_entropy,
        scores.score(1e-3 * logits, targets).cross_entropy,
        rtol=1e-5,
    )


def clean_problem(rows=40, classes=3):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(rows, classes))
    matrix = rng.dirichlet(np.ones(classes), size=classes)
    return logits, matrix, rng.integers(classes, size=rows)


def posterior_by_hand(logits, matrix):
    """p(y | x, g), [m, c, c]."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    joint = probs[:, :, None] * matrix[None]
    return joint / joint.sum(axis=1, keepdims=True)


def test_expected_score_and_hits_average_over_the_given_label():
    logits, matrix, labels = clean_problem()
    posterior = posterior_by_hand(logits, matrix)
    rows = np.arange(len(labels))
    chance = matrix[labels]
    score = (chance * np.log(posterior[rows, labels])).sum(axis=1).mean()
    hits = (chance * (posterior.argmax(axis=1) == labels[:, None])).sum(axis=1)
    found = jnp.asarray(logits, jnp.float32), jnp.asarray(matrix, jnp.float32), jnp.asarray(labels)
    np.testing.assert_allclose(scores.expected_score(*found), score, rtol=1e-5)
    np.testing.assert_allclose(expected_hits(*found), hits, atol=1e-5)


def expected_hits(logits, transition, labels, trusted=None):
    targets = jnp.eye(len(transition))[labels]
    return reliability.expected(logits, targets, transition, transition if trusted is None else trusted).hits


def test_labels_from_a_noise_free_source_are_certain():
    logits, _, labels = clean_problem()
    found = jnp.asarray(logits, jnp.float32), jnp.eye(3), jnp.asarray(labels)
    np.testing.assert_allclose(scores.expected_score(*found), 0, atol=1e-5)
    np.testing.assert_allclose(expected_hits(*found), 1)


def test_labels_that_are_trusted_too_much_are_judged_by_the_noise():
    """Written with an identity for T, labels are the given ones: right as often as the noise leaves them."""
    noise = jnp.asarray([[0.7, 0.3], [0.2, 0.8]])
    nearly = jnp.asarray([[1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6]])
    found = expected_hits(jnp.zeros((2, 2)), noise, jnp.arange(2), nearly)
    np.testing.assert_allclose(found, [0.7, 0.8], atol=1e-6)
    score = scores.expected_score(jnp.zeros((2, 2)), noise, jnp.arange(2), nearly)
    np.testing.assert_allclose(score, 0.25 * np.log(1e-6), rtol=1e-3)


def test_only_clear_gains_count():
    hits = jnp.asarray(np.arange(400) % 2, jnp.float32)
    slightly = hits.at[:5].set(1.0)
    much = hits.at[:200].set(1.0)
    np.testing.assert_array_equal(scores.clearly_better(jnp.stack([slightly, much]), hits), [False, True])


def test_what_is_only_expected_is_less_certain():
    certain = scores.clearly_better(jnp.ones(30), jnp.full(30, 0.9).at[:27].set(1.0).at[27:].set(0.0))
    expected = scores.clearly_better(jnp.ones(30), jnp.full(30, 0.9))
    assert not certain
    assert not expected
    assert scores.clearly_better(jnp.ones(3000), jnp.full(3000, 0.9))
