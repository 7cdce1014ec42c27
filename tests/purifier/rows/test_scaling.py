import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.rows import scaling


def test_rows_are_centred_and_of_length_sqrt_d():
    rng = np.random.default_rng(0)
    features = jnp.asarray(5 + rng.normal(size=(50, 9)), jnp.float32)
    mean = jnp.mean(features, axis=0)
    rows = scaling.center_and_normalize(features, mean)
    np.testing.assert_allclose(np.linalg.norm(rows[:, :9], axis=1), 3, rtol=1e-5)
    np.testing.assert_array_equal(rows[:, 9], 1)


def test_a_row_at_the_mean_stays_zero():
    rows = scaling.normalize_rows(jnp.asarray([[1.0, 2.0], [3.0, 4.0]]), jnp.asarray([1.0, 2.0]), 2.0)
    np.testing.assert_array_equal(rows[0], 0)
    assert np.all(np.isfinite(rows))


def test_classifier_predicts_like_its_weights():
    rng = np.random.default_rng(1)
    features = jnp.asarray(rng.normal(size=(20, 5)), jnp.float32)
    mean = jnp.mean(features, axis=0)
    weights = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    logits = np.asarray(scaling.center_and_normalize(features, mean) @ weights, np.float64)
    oracle = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = scaling.predict(scaling.linear_classifier(weights, mean), np.asarray(features))
    np.testing.assert_allclose(found, oracle, atol=1e-5)


def test_scale_zero_leaves_rows_alone():
    features = jnp.asarray([[1.0, 2.0]])
    np.testing.assert_array_equal(scaling.normalize_rows(features, jnp.zeros(2), 0.0), features)


def test_a_row_equal_to_the_mean_stays_zero_at_any_width():
    mean = jnp.arange(64.0)
    rows = scaling.center_and_normalize(jnp.stack([mean, mean + 1]), mean)
    np.testing.assert_array_equal(rows[0], np.r_[np.zeros(64), 1])
    np.testing.assert_allclose(jnp.linalg.norm(rows[1, :-1]), 8, rtol=1e-6)


@pytest.mark.parametrize("factor", [2.0**100, 2.0**-100])
def test_no_scale_is_too_large_or_too_small(factor):
    """Squares of such numbers have no place in float32."""
    features = jnp.asarray(np.random.default_rng(2).normal(size=(20, 7)), jnp.float32)
    expected = scaling.center_and_normalize(features, jnp.zeros(7))
    np.testing.assert_array_equal(scaling.center_and_normalize(factor * features, jnp.zeros(7)), expected)
