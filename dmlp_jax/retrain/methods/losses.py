"""Computes losses row by row, [b], from logits [b, c] and target distributions [b, c]."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-sum_c target_c log p_c, [b]."""
    return optax.softmax_cross_entropy(logits, targets)


def generalized_cross_entropy(logits: jax.Array, targets: jax.Array, q: float = 0.7) -> jax.Array:
    """(1 - p_target^q) / q, [b]: between cross-entropy (q to 0) and absolute error (q = 1).

    Zhang and Sabuncu 2018, Eq. 6, without the truncation of their section 3.3. For soft targets p_target is
    the expected probability <target, p>.
    """
    probability = jnp.sum(targets * jax.nn.softmax(logits), axis=-1)
    # The gradient of x^q at 0 is infinite.
    return (1.0 - jnp.maximum(probability, 1e-7) ** q) / q


def bootstrapping(logits: jax.Array, targets: jax.Array, share: float = 0.95) -> jax.Array:
    """Cross-entropy to share * target + (1 - share) * p, [b]; 'soft' bootstrapping.

    Reed et al. 2015, Eq. 6; their share is .95. No gradient flows through the target, which they describe as
    a target corrected by the model itself.
    """
    own = jax.lax.stop_gradient(jax.nn.softmax(logits))
    return cross_entropy(logits, share * targets + (1.0 - share) * own)


def negative_entropy(logits: jax.Array) -> jax.Array:
    """sum_c p_c log p_c, [b]: a penalty on confident predictions."""
    return jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits), axis=-1)


def uneven_classes(logits: jax.Array, axis_name: str | None) -> jax.Array:
    """sum_c 1/c log((1/c) / mean p_c), scalar: keeps predictions of a batch from collapsing into few classes.

    Tanaka et al. 2018, Eq. 5, with a uniform prior and without its constant.

    Args:
        logits: [b, c].
        axis_name: pmap axis; the mean prediction is that of all devices.
    """
    mean = jnp.mean(jax.nn.softmax(logits), axis=0)
    if axis_name is not None:
        mean = jax.lax.pmean(mean, axis_name)
    prior = 1.0 / logits.shape[-1]
    return jnp.sum(prior * (jnp.log(prior) - jnp.log(jnp.maximum(mean, 1e-12))))


def early_learning(logits: jax.Array, table: jax.Array) -> jax.Array:
    """log(1 - <t, p>), [b]: the lower, the closer the prediction p is to the running target t.

    ELR, Liu et al. 2020, Eq. 6. As in the authors' code p is clipped to [1e-4, 1 - 1e-4]; in exact arithmetic
    <t, p> stays below 1 because t is an average of clipped predictions.

    Args:
        logits: [b, c].
        table: running targets t [b, c]; no gradient flows through them.
    """
    inner = jnp.sum(jax.lax.stop_gradient(table) * clipped_probs(logits), axis=-1)
    return jnp.log(jnp.maximum(1.0 - inner, 1e-7))


def clipped_probs(logits: jax.Array) -> jax.Array:
    """softmax(logits) clipped to [1e-4, 1 - 1e-4], [b, c]."""
    return jnp.clip(jax.nn.softmax(logits), 1e-4, 1.0 - 1e-4)
