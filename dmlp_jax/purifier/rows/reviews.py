"""Holds what review tells about the clean rows beside their true labels.

A clean row was reviewed: somebody looked up its true label. What the noisy source had given it may be known.
Rows that were drawn at random, maybe within their class, can be counted: how many given labels were wrong.
Rows that were picked because they looked suspicious cannot: they are wrong more often than others. But they
teach a model of the true label given features and given label as well as any, since they were picked by
these two.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Reviews(NamedTuple):
    """What is known about the review of the m clean rows.

    Attributes:
        given: labels that the noisy source gave, one-hot [m, c]; zeros where unknown.
        known: 1 where the given label is known, else 0, [m].
        random: 1 where the row was drawn at random, else 0, [m].
    """

    given: jax.Array
    known: jax.Array
    random: jax.Array


def make(given: jax.Array, random: jax.Array | None, num_classes: int) -> Reviews:
    """`Reviews` of given class indices [m], -1 where unknown, and flags [m], by default all True."""
    known = (given >= 0).astype(jnp.float32)
    flags = jnp.ones_like(known) if random is None else random.astype(jnp.float32)
    return Reviews(jax.nn.one_hot(given, num_classes, dtype=jnp.float32), known, flags)
