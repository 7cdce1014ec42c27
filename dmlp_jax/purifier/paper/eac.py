"""Implements Extrinsic Auxiliary Correction (EAC): a softmax classifier trained on the labels (Eq. 8-9).

The classifier is linear. Its update is the paper's: Adam on the mean of cross-entropy plus entropy. The
schedule maps it over its classifiers by `jax.vmap`. The default schedule takes preconditioned Nesterov steps
instead (`base/nesterov.py`).
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    import optax


def classifier_loss(
    logits: jax.Array,
    labels: jax.Array,
    row_weight: jax.Array,
    entropy_weight: jax.Array | float,
) -> jax.Array:
    """Cross-entropy to the current labels plus entropy of the predictions (Eq. 8), a scalar mean.

    Args:
        logits: F W of the classifier, class-major [c, n].
        labels: soft labels, class-major [c, n].
        row_weight: [n]; rows of weight 0 are padding.
        entropy_weight: weight of the entropy; the paper's is 1.
    """
    log_probs = jax.nn.log_softmax(logits, axis=0)
    cross_entropy = -jnp.sum(labels * log_probs, axis=0)
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=0)
    total = jnp.sum(row_weight * (cross_entropy + entropy_weight * entropy))
    return total / jnp.maximum(jnp.sum(row_weight), 1.0)


def adam() -> "optax.GradientTransformation":
    """Adam without a learning rate (beta_1 .5 as in the authors' script); the schedule scales its steps."""
    import optax  # Only this preset needs it, and it takes a while to load.

    return optax.scale_by_adam(b1=0.5, b2=0.999)


def adam_step(
    weights: jax.Array,
    optimizer_state: "optax.OptState",
    gradient: jax.Array,
    learning_rate: jax.Array | float,
) -> "tuple[jax.Array, optax.OptState]":
    """One Adam step down `gradient` from `weights`, both of one shape. Returns weights and Adam's state."""
    direction, optimizer_state = adam().update(gradient, optimizer_state)
    return weights - learning_rate * direction, optimizer_state


def write_labels(labels: jax.Array, predictions: jax.Array, momentum: jax.Array | float) -> jax.Array:
    """Y <- (1 - alpha_E) Y + alpha_E C(F), Eq. 9, for labels and predictions of one shape."""
    return (1.0 - momentum) * labels + momentum * predictions
