import jax.numpy as jnp
import numpy as np
import pytest

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
    np.testing.assert_allclose(scores.expected_score(*found, jnp.ones(len(labels))), score, rtol=1e-5)
    np.testing.assert_allclose(expected_hits(*found), hits, atol=1e-5)


def expected_hits(logits, transition, labels, trusted=None):
    targets = jnp.eye(len(transition))[labels]
    return reliability.expected(logits, targets, transition, transition if trusted is None else trusted).hits


def test_labels_from_a_noise_free_source_are_certain():
    logits, _, labels = clean_problem()
    found = jnp.asarray(logits, jnp.float32), jnp.eye(3), jnp.asarray(labels)
    np.testing.assert_allclose(scores.expected_score(*found, jnp.ones(len(labels))), 0, atol=1e-5)
    np.testing.assert_allclose(expected_hits(*found), 1)


def test_labels_that_are_trusted_too_much_are_judged_by_the_noise():
    """Written with an identity for T, labels are the given ones: right as often as the noise leaves them."""
    noise = jnp.asarray([[0.7, 0.3], [0.2, 0.8]])
    nearly = jnp.asarray([[1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6]])
    found = expected_hits(jnp.zeros((2, 2)), noise, jnp.arange(2), nearly)
    np.testing.assert_allclose(found, [0.7, 0.8], atol=1e-6)
    score = scores.expected_score(jnp.zeros((2, 2)), noise, jnp.arange(2), jnp.ones(2), nearly)
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


def test_accuracy_and_its_standard_error_by_hand():
    """Weights 1, 2, 0 and 1 are worth 16 / 6 rows; one right and one wrong row are added."""
    hits, weight = jnp.asarray([True, False, True, True]), jnp.asarray([1.0, 2.0, 0.0, 1.0])
    share, error = scores.counted(hits, weight)
    np.testing.assert_allclose(share, 0.5)
    np.testing.assert_allclose(error, np.sqrt(0.25 / (16 / 6 + 2)), rtol=1e-6)
    share, error = scores.counted(hits)
    widened = 4 / 6
    np.testing.assert_allclose([share, error], [0.75, np.sqrt(widened * (1 - widened) / 6)], rtol=1e-6)


def test_the_scale_of_the_weights_does_not_matter():
    rng = np.random.default_rng(0)
    hits, weight = jnp.asarray(rng.random((3, 40))), jnp.asarray(rng.random(40))
    for found, scaled in zip(scores.counted(hits, weight), scores.counted(hits, 7 * weight), strict=True):
        assert found.shape == (3,)
        np.testing.assert_allclose(scaled, found, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.97])
def test_two_standard_errors_cover_the_accuracy(probability, weighted):
    rng = np.random.default_rng(0)
    hits = jnp.asarray(rng.random((20_000, 30)) < probability)
    share, error = scores.counted(hits, jnp.asarray(rng.uniform(0.3, 2.0, 30)) if weighted else None)
    covered = np.mean(np.abs(np.asarray(share) - probability) <= 2 * np.asarray(error))
    assert covered > 0.92
    # And is not far too wide.
    assert np.mean(np.abs(np.asarray(share) - probability) <= 0.7 * np.asarray(error)) < 0.75


def test_without_rows_nothing_is_known():
    for value in (
        *scores.counted(jnp.ones(4), jnp.zeros(4)),
        scores.weighted_mean(jnp.ones(4), jnp.zeros(4)),
    ):
        assert float(value) == scores.UNKNOWN
    assert all(float(value) == scores.UNKNOWN for value in scores.unknown_score())
    assert not scores.clearly_better(jnp.ones(4), jnp.zeros(4), weight=jnp.zeros(4))


def test_rows_of_weight_zero_are_no_rows():
    rng = np.random.default_rng(0)
    logits, targets = jnp.asarray(rng.normal(size=(60, 3))), jnp.eye(3)[rng.integers(3, size=60)]
    weight = jnp.asarray(np.arange(60) < 40, jnp.float32)
    found = scores.score(logits, targets, jnp.float32(1), weight)
    alone = scores.score(logits[:40], targets[:40], jnp.float32(1))
    np.testing.assert_allclose(found.accuracy, alone.accuracy, rtol=1e-6)
    np.testing.assert_allclose(found.standard_error, alone.standard_error, rtol=1e-6)
    # Targets are smoothed by the number of rows, which differs.
    np.testing.assert_allclose(found.cross_entropy, alone.cross_entropy, rtol=0.02)
    hits = jnp.asarray(rng.random(60) < 0.5, jnp.float32)
    others = jnp.asarray(rng.random((50, 60)) < 0.8, jnp.float32)
    better = scores.clearly_better(others, hits, weight=weight)
    np.testing.assert_array_equal(better, scores.clearly_better(others[:, :40], hits[:40]))
    assert 0 < np.mean(better) < 1
