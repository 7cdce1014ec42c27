import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.posterior import candidates
from dmlp_jax.purifier.posterior.candidates import Active

ALL, THIRD = Active(jnp.int32(0), jnp.int32(4)), Active(jnp.int32(2), jnp.int32(1))
STATE = {"a": jnp.arange(8.0).reshape(4, 2), "b": jnp.arange(4)}
ADDED = 10 * jnp.arange(1.0, 5)


def double(state, added):
    return {"a": 2 * state["a"] + added, "b": state["b"] + 1}


@pytest.mark.parametrize(("which", "rows"), [(ALL, [0, 1, 2, 3]), (THIRD, [2])])
def test_only_active_candidates_are_updated(which, rows):
    found = jax.jit(lambda which: candidates.update(double, which, STATE, ADDED))(which)
    wanted = {"a": np.array(STATE["a"]), "b": np.array(STATE["b"])}
    wanted["a"][rows] = 2 * wanted["a"][rows] + np.array(ADDED)[rows, None]
    wanted["b"][rows] += 1
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize(("which", "rows"), [(ALL, [0, 1, 2, 3]), (THIRD, [2])])
def test_results_of_others_are_zero(which, rows):
    wanted = np.zeros((4, 3))
    wanted[rows] = np.array(ADDED)[rows, None] + 1
    alone = jax.jit(lambda which: candidates.collect(lambda value: value + jnp.ones(3), which, ADDED))(which)
    np.testing.assert_array_equal(alone, wanted)
    at_once = jax.jit(
        lambda which: candidates.map_candidates(lambda values: values[:, None] + jnp.ones(3), which, ADDED)
    )(which)
    np.testing.assert_array_equal(at_once, wanted)


def test_a_candidate_alone_is_always_active():
    which = Active(jnp.int32(0), jnp.int32(1))
    np.testing.assert_array_equal(
        candidates.map_candidates(lambda values: values + 1, which, ADDED[:1]), [11]
    )


def test_mapped_over_the_candidate_that_is_left():
    """As under a caller's vmap over keys: which one is left differs, how many does not."""

    def run(first):
        which = Active(first, jnp.int32(1))
        return candidates.update(double, which, STATE, ADDED), candidates.map_candidates(
            jnp.square, which, ADDED
        )

    for index, found in enumerate(zip(*jax.tree.leaves(jax.vmap(run)(jnp.arange(4))), strict=True)):
        jax.tree.map(np.testing.assert_array_equal, list(found), jax.tree.leaves(run(jnp.int32(index))))
