"""Votes: the labels that annotators gave to rows, class indices [n, a], -1 where an annotator gave none."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import HIGHEST

NONE = -1


def numbers(votes: jax.Array, num_classes: int) -> jax.Array:
    """How many annotators gave each class to each row, float32 [b, c]."""

    def add(total, column):
        # -1 is no class, so its one-hot row is all zeros.
        return total + jax.nn.one_hot(column, num_classes, dtype=jnp.float32), None

    return jax.lax.scan(add, jnp.zeros((votes.shape[0], num_classes), jnp.float32), votes.T)[0]


def shares(votes: jax.Array, num_classes: int) -> jax.Array:
    """Share of each class among the votes of each row, [b, c]; uniform for a row without votes."""
    found = numbers(votes, num_classes)
    total = jnp.sum(found, axis=1, keepdims=True)
    return jnp.where(total > 0, found / jnp.maximum(total, 1.0), 1.0 / num_classes)


def majority(votes: jax.Array, num_classes: int) -> jax.Array:
    """The class with the most votes of each row, int32 [n].

    Of classes with equally many votes in a row it is the one that is given more often to all rows.
    """

    def count(total, column):
        return total + jnp.sum(jax.nn.one_hot(column, num_classes, dtype=jnp.float32), axis=0), None

    often = jax.lax.scan(count, jnp.zeros(num_classes, jnp.float32), votes.T)[0]
    # Less than one vote.
    favour = 0.5 * often / jnp.maximum(1.0, jnp.sum(often))
    return jnp.argmax(numbers(votes, num_classes) + favour, axis=1).astype(jnp.int32)


def counts(labels: jax.Array, votes: jax.Array, weight: jax.Array) -> jax.Array:
    """Soft counts of true class against vote for each annotator, [a, c, c].

    Args:
        labels: distributions of the true class, [c, b].
        votes: [b, a].
        weight: of the rows, [b].
    """
    weighted = weight * labels

    def of_one(column):
        given = jax.nn.one_hot(column, labels.shape[0], dtype=jnp.float32)
        return jnp.matmul(weighted, given, precision=HIGHEST)

    return jax.lax.map(of_one, votes.T)


def log_likelihood(log_noise: jax.Array, votes: jax.Array) -> jax.Array:
    """Log p(votes | y) of every row and class y, if votes are independent given the true class, [b, c].

    Args:
        log_noise: log T of every annotator, [a, c, c].
        votes: [b, a].
    """

    def add(total, annotator):
        matrix, column = annotator
        return total + of_column(matrix, column), None

    start = jnp.zeros((votes.shape[0], log_noise.shape[1]), log_noise.dtype)
    return jax.lax.scan(add, start, (log_noise, votes.T))[0]


def of_column(log_noise: jax.Array, column: jax.Array) -> jax.Array:
    """Log p(vote | y) of one annotator's votes [b] by log T [c, c], [b, c]; 0 where there is no vote."""
    given = jax.nn.one_hot(column, log_noise.shape[0], dtype=log_noise.dtype)
    return jnp.matmul(given, log_noise.T, precision=HIGHEST)
