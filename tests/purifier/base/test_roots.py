import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from dmlp_jax.purifier.base.roots import bisect, falling_root

LOW, HIGH = jnp.float32(-7), jnp.float32(7)


def falling(function):
    return lambda at: (function(at), jax.grad(function)(at))


@pytest.mark.parametrize("shift", [-6.5, -1.2, 0.0, 3.3, 6.99])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])
def test_root_is_scipys(shift, sharpness):
    """Newton's steps alone would leave a steep sigmoid's flat ends at once."""

    def function(at):
        return -jnp.tanh(sharpness * (at - shift)) - 0.3 * jnp.tanh(at)

    wanted = scipy.optimize.brentq(lambda at: float(function(jnp.float32(at))), -7, 7, xtol=1e-6)
    found = jax.jit(lambda: falling_root(falling(function), LOW, HIGH))()
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize(("value", "wanted"), [(1.0, 7), (-1.0, -7)])
def test_without_a_root_the_nearer_end_answers(value, wanted):
    found = falling_root(lambda at: (jnp.float32(value), 0.0 * at), LOW, HIGH)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_not_a_number_ends_at_an_end():
    found = falling_root(lambda at: (at * jnp.nan, at * jnp.nan), LOW, HIGH)
    assert np.isfinite(found)


def test_a_batch_has_the_roots_of_its_members():
    shifts = jnp.asarray([-3.0, 0.5, 6.0])
    found = jax.vmap(lambda shift: falling_root(lambda at: (shift - at, -1.0), LOW, HIGH))(shifts)
    np.testing.assert_allclose(found, shifts, atol=1e-5)


def test_bisection_finds_where_a_condition_ceases():
    np.testing.assert_allclose(bisect(lambda at: at < 2.5, LOW, HIGH, 30), 2.5, atol=1e-6)
    np.testing.assert_allclose(bisect(lambda at: at < 100, LOW, HIGH, 30), 7, atol=1e-6)
