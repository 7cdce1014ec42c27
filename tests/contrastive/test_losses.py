import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dmlp_jax.contrastive import losses

nt_xent = jax.jit(losses.nt_xent)
slopes = jax.jit(jax.grad(losses.nt_xent))


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 12, 5))


def numpy_nt_xent(first, second, temperature):
    """The definition, one anchor at a time, in float64."""
    rows = np.concatenate([first, second])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(first)
    total = 0.0
    for anchor in range(2 * count):
        positive = (anchor + count) % (2 * count)
        others = [k for k in range(2 * count) if k != anchor]
        logits = rows[others] @ rows[anchor] / temperature
        total -= rows[positive] @ rows[anchor] / temperature - np.log(np.exp(logits).sum())
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_value_is_the_definition(views, temperature):
    found = nt_xent(*jnp.asarray(views, jnp.float32), temperature)
    np.testing.assert_allclose(found, numpy_nt_xent(*views, temperature), rtol=1e-5)


def test_value_is_optaxs(views):
    first, second = jnp.asarray(views, jnp.float32)
    pairs = jnp.tile(jnp.arange(12), 2)
    oracle = jax.jit(optax.losses.ntxent)(jnp.concatenate([first, second]), pairs, 0.5)
    np.testing.assert_allclose(nt_xent(first, second, 0.5), oracle, rtol=1e-5)


def test_gradient_is_the_finite_difference(views):
    first, second = views
    gradient = slopes(jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32), 0.5)
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = rng.normal(size=first.shape)
        ends = [numpy_nt_xent(first + step * direction, second, 0.5) for step in (1e-6, -1e-6)]
        slope = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(np.sum(np.asarray(gradient) * direction), slope, rtol=1e-3, atol=1e-5)


def test_scale_of_projections_does_not_matter(views):
    first, second = jnp.asarray(views, jnp.float32)
    np.testing.assert_allclose(nt_xent(3 * first, second, 0.5), nt_xent(first, 7 * second, 0.5), rtol=1e-5)


def test_identical_views_of_orthogonal_rows():
    rows = jnp.eye(4)
    expected = np.log(np.exp(1.0) + 6.0) - 1.0
    np.testing.assert_allclose(nt_xent(rows, rows, 1.0), expected, rtol=1e-6)


def test_zero_rows_have_a_finite_gradient():
    gradient = slopes(jnp.zeros((3, 2)), jnp.ones((3, 2)), 0.5)
    assert np.all(np.isfinite(gradient))


def test_bfloat16_projections_are_taken(views):
    first, second = jnp.asarray(views, jnp.bfloat16)
    found = nt_xent(first, second, 0.5)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, numpy_nt_xent(*views, 0.5), rtol=2e-2)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        nt_xent(jnp.ones((3, 2)), jnp.ones((4, 2)), 0.5)
