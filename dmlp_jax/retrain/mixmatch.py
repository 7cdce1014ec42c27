"""The pure functions of MixMatch (Berthelot et al. 2019) as DivideMix uses them (Li et al., ICLR 2020)."""

import jax
import jax.numpy as jnp

from dmlp_jax.retrain import losses


def sharpen(probs: jax.Array, temperature: float) -> jax.Array:
    """p^(1/T) on the simplex again, [b, c] (DivideMix, Eq. 7 and 8)."""
    powers = probs ** (1.0 / temperature)
    return powers / jnp.sum(powers, axis=-1, keepdims=True)


def co_refine(targets: jax.Array, clean: jax.Array, logits: jax.Array, temperature: float) -> jax.Array:
    """Targets of labelled rows, sharpen(w y + (1 - w) p), [b, c] (Eq. 5 and 7).

    Args:
        targets: their labels y [b, c].
        clean: how probably these are right, w [b], by the other network's losses.
        logits: of several views, [views, b, c]; p is the mean of their softmax.
        temperature: of `sharpen`.
    """
    mean = jnp.mean(jax.nn.softmax(logits), axis=0)
    return sharpen(clean[:, None] * targets + (1.0 - clean[:, None]) * mean, temperature)


def co_guess(logits: jax.Array, temperature: float) -> jax.Array:
    """Targets of unlabelled rows [b, c]: the sharpened mean of the softmax of [guesses, b, c] (Eq. 6, 8)."""
    return sharpen(jnp.mean(jax.nn.softmax(logits), axis=0), temperature)


def mixed_loss(
    logits: jax.Array, targets: jax.Array, labelled: int, unlabelled_weight: jax.Array, axis_name: str | None
) -> jax.Array:
    """L_X + weight * L_U + L_reg of mixed rows, scalar (Eq. 9-12).

    L_X is the cross-entropy of the labelled rows, L_U the mean squared error of the others' probabilities
    over rows and classes, and L_reg = sum_c pi_c log(pi_c / mean p_c) with pi uniform keeps the predictions
    of a batch from collapsing into few classes.

    Args:
        logits: [rows, c], the labelled rows first.
        targets: [rows, c].
        labelled: rows of L_X.
        unlabelled_weight: lambda_u, scalar.
        axis_name: pmap axis; the mean prediction is that of all devices.
    """
    probs = jax.nn.softmax(logits)
    fit = jnp.mean(losses.cross_entropy(logits[:labelled], targets[:labelled]))
    consistency = jnp.mean((probs[labelled:] - targets[labelled:]) ** 2)
    mean = jnp.mean(probs, axis=0)
    if axis_name is not None:
        mean = jax.lax.pmean(mean, axis_name)
    prior = 1.0 / logits.shape[-1]
    penalty = jnp.sum(prior * (jnp.log(prior) - jnp.log(jnp.maximum(mean, 1e-12))))
    return fit + unlabelled_weight * consistency + penalty
