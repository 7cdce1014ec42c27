"""Runs a function for every candidate that is still in the race, or for the winner alone.

The race, of all candidates, and the rounds after it, of the winner alone, are one loop over rounds: two loops
would compile the body of a round twice. Inside, what is done for each candidate is a loop with as many turns
as there are active candidates. Only passes over the training rows are compiled in both forms, see
`map_candidates`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.pytrees import at


class Active(NamedTuple):
    """Candidates that still run; scalars.

    Attributes:
        first: index of the first of them.
        number: how many they are.
    """

    first: jax.Array
    number: jax.Array


def update(function: Callable[..., Any], active: Active, state: Any, *others: Any) -> Any:
    """Replaces the state of every active candidate by `function(its state, *its others)`.

    Args:
        function: takes one candidate's leaves, without the leading axis; returns its new state.
        active: the candidates that still run.
        state: of all s candidates, leaves [s, ...].
        others: further arguments of all candidates, leaves [s, ...].

    Returns:
        The states of all candidates, leaves [s, ...].
    """

    def body(turn, state):
        index = active.first + turn
        own, *theirs = at((state, *others), index)
        following = function(own, *theirs)
        return jax.tree.map(
            lambda leaf, value: jax.lax.dynamic_update_index_in_dim(leaf, value, index, 0), state, following
        )

    return jax.lax.fori_loop(0, active.number, body, state)


def collect(function: Callable[..., Any], active: Active, *others: Any) -> Any:
    """Calls `function(*its others)` for every active candidate; leaves [s, ...], 0 for the rest.

    Args:
        function: takes one candidate's leaves, without the leading axis.
        active: the candidates that still run.
        others: arguments of all s candidates, leaves [s, ...].
    """
    size = jax.tree.leaves(others)[0].shape[0]
    shapes = jax.eval_shape(lambda *leaves: function(*at(leaves, 0)), *others)
    empty = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), shapes)
    return update(lambda _, *theirs: function(*theirs), active, empty, *others)


def map_candidates(function: Callable[[Any], Any], active: Active, others: Any) -> Any:
    """Calls `function` on all candidates at once, or on the only active one; 0 for the rest.

    Both forms are compiled. All candidates at once read the training rows only once, and wide matrix products
    are faster.

    Args:
        function: from leaves [s, ...] to leaves [s, ...], for any s.
        active: all candidates, or one of them.
        others: arguments of all s candidates, leaves [s, ...].
    """
    shapes = jax.eval_shape(function, others)

    def one(others):
        found = function(jax.tree.map(lambda leaf: leaf[None], at(others, active.first)))
        return jax.tree.map(
            lambda shape, leaf: jax.lax.dynamic_update_slice_in_dim(
                jnp.zeros(shape.shape, shape.dtype), leaf, active.first, 0
            ),
            shapes,
            found,
        )

    size = jax.tree.leaves(others)[0].shape[0]
    return function(others) if size == 1 else jax.lax.cond(active.number > 1, function, one, others)
