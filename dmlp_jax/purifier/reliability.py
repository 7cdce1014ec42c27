"""How far confidence can be relied on: held-out clean rows by confidence, and how many of them are right."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.ridge import matmul

# Bins of equal width over [0, 1], as Guo et al. (2017) draw them.
BINS = 15


def binned(confidence: jax.Array, right: jax.Array, weight: jax.Array | None = None) -> dict[str, jax.Array]:
    """Sums over labels in bins of their confidence, 'rows', 'confidence' and 'right', each [BINS].

    Divided by 'rows' the others are a bin's mean confidence and its accuracy.

    Args:
        confidence: probabilities of labels, any shape, in [0, 1].
        right: whether each label is right, or how probably.
        weight: of each label; 1 by default.
    """
    weight = jnp.ones_like(confidence) if weight is None else weight
    place = jnp.clip((confidence * BINS).astype(jnp.int32), 0, BINS - 1)
    sums = {"rows": weight, "confidence": weight * confidence, "right": weight * right}
    return {name: jnp.zeros(BINS, jnp.float32).at[place].add(values) for name, values in sums.items()}


def outcomes(
    logits: jax.Array, target: jax.Array, transition: jax.Array, trusted: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What may become of a clean row that meets a given label: for each, confidence, right and chance, [c].

    The label g is drawn from T[y], y the true class; p(y | x, g) ∝ p(y | x) T'[y, g] then labels the row.

    Args:
        logits: held-out logits of the row at their temperature, [c].
        target: one-hot [c].
        transition: T, [c, c].
        trusted: T', the matrix of p(y | x, g), [c, c].
    """
    joint = jax.nn.softmax(logits)[:, None] * trusted
    total = jnp.maximum(jnp.sum(joint, axis=0), jnp.finfo(joint.dtype).tiny)
    right = jnp.argmax(joint, axis=0) == jnp.argmax(target)
    return jnp.max(joint, axis=0) / total, right.astype(joint.dtype), matmul(target, transition)


def expected(
    logits: jax.Array, targets: jax.Array, transition: jax.Array, trusted: jax.Array
) -> dict[str, jax.Array]:
    """`binned` in expectation over the given labels that T would have drawn for the clean rows.

    Args:
        logits: held-out logits [m, c] at their temperature.
        targets: one-hot [m, c].
        transition: T, [c, c].
        trusted: the matrix to write labels with, [c, c].
    """

    def of_row(row):
        return binned(*outcomes(row[0], row[1], transition, trusted))

    by_row = jax.lax.map(of_row, (logits, targets), batch_size=64)
    return jax.tree.map(lambda values: jnp.sum(values, axis=0), by_row)


def of_predictions(logits: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
    """`binned` for the most probable classes of held-out logits [m, c]; targets one-hot [m, c]."""
    probs = jax.nn.softmax(logits)
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return binned(jnp.max(probs, axis=-1), hit.astype(probs.dtype))


def unknown() -> dict[str, jax.Array]:
    """Bins of no rows, where nothing was held out."""
    return {name: jnp.zeros(BINS, jnp.float32) for name in ("rows", "confidence", "right")}
