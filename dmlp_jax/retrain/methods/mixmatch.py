"""Implements MixMatch (Berthelot et al., NeurIPS 2019), and its parts that DivideMix (Li et al. 2020) uses.

The pseudo-label of an unlabelled row is the sharpened mean prediction of two views; all rows are mixed with
each other. As in the authors' code pseudo-labels are predicted in training mode without changing the running
statistics, and every row has its own mixing share. Unlike there, both views go through the network in one
pass, and so do the mixed rows, rather than in three: batch statistics are those of all rows of a pass.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, register
from dmlp_jax.retrain.methods import losses, mixing, semi_supervised


@register("mixmatch", semi_supervised.NEEDS)
def make_mixmatch(settings: ConfigDict, task: Task) -> Method:
    """MixMatch with `sharpen`, `mixup`, `unlabelled_weight`, `unlabelled_ramp` and `ema`; see recipes.

    Raises:
        UserError: `unlabelled_ratio` is not 1, or another impossible setting.
    """
    if settings.unlabelled_ratio != 1:
        raise UserError(
            f"recipes.mixmatch.unlabelled_ratio is {settings.unlabelled_ratio}; MixMatch uses as many rows "
            "without labels as with labels, so it must be 1"
        )
    if settings.sharpen <= 0 or settings.mixup <= 0:
        raise UserError("recipes.mixmatch.sharpen and recipes.mixmatch.mixup must be above 0")

    def objective(params, network, state, views, batch, axis_name):
        guess_key, mix_key, drop_key = jax.random.split(batch.key, 3)
        before, size = state.network, len(views.labelled)
        images = jnp.stack([views.labelled, *views.unlabelled])
        flat = images[1:].reshape(2 * size, *images.shape[2:])
        logits, _ = network.train_logits(before.params, before.batch_stats, flat, guess_key, axis_name)
        guessed = jax.lax.stop_gradient(co_guess(logits.reshape(2, size, -1), settings.sharpen))
        mix = mixing.draw(mix_key, 3, size, settings.mixup, axis_name, per_row=True)
        mixed = mixing.apply(mix, images, axis_name).reshape(3 * size, *images.shape[2:])
        goals = mixing.apply(mix, jnp.stack([views.targets, guessed, guessed]), axis_name)
        goals = goals.reshape(3 * size, -1)
        logits, stats = network.train_logits(params, before.batch_stats, mixed, drop_key, axis_name)
        weight = settings.unlabelled_weight * semi_supervised.ramp(
            batch.epoch / settings.epochs, settings.unlabelled_ramp
        )
        metrics = {"guess_confidence": jnp.mean(jnp.max(guessed, axis=-1))}
        return semi_supervised_loss(logits, goals, size, weight), (stats, metrics)

    return semi_supervised.make(settings, task, objective, strong=False)


def sharpen(probs: jax.Array, temperature: float) -> jax.Array:
    """p^(1/T), normalised to sum to 1, [b, c] (DivideMix, Eq. 7 and 8)."""
    powers = probs ** (1.0 / temperature)
    return powers / jnp.sum(powers, axis=-1, keepdims=True)


def co_refine(targets: jax.Array, clean: jax.Array, logits: jax.Array, temperature: float) -> jax.Array:
    """Targets of labelled rows, sharpen(w y + (1 - w) p), [b, c] (Eq. 5 and 7).

    Args:
        targets: labels y of the rows [b, c].
        clean: probability w that each label is right [b], by the other network's losses.
        logits: logits of several views, [views, b, c]; p is the mean of their softmax.
        temperature: temperature T of `sharpen`.
    """
    mean = jnp.mean(jax.nn.softmax(logits), axis=0)
    return sharpen(clean[:, None] * targets + (1.0 - clean[:, None]) * mean, temperature)


def co_guess(logits: jax.Array, temperature: float) -> jax.Array:
    """Targets of unlabelled rows [b, c]: the sharpened mean of the softmax of [guesses, b, c] (Eq. 6, 8)."""
    return sharpen(jnp.mean(jax.nn.softmax(logits), axis=0), temperature)


def mixed_loss(
    logits: jax.Array, targets: jax.Array, labelled: int, unlabelled_weight: jax.Array, axis_name: str | None
) -> jax.Array:
    """L_X + weight * L_U + L_reg of mixed rows, scalar (DivideMix, Eq. 9-12).

    See `semi_supervised_loss` for the first two, `losses.uneven_classes` for L_reg.

    Args:
        logits: [rows, c], the labelled rows first.
        targets: [rows, c].
        labelled: rows of L_X.
        unlabelled_weight: lambda_u, scalar.
        axis_name: pmap axis; the mean prediction is that of all devices.
    """
    penalty = losses.uneven_classes(logits, axis_name)
    return semi_supervised_loss(logits, targets, labelled, unlabelled_weight) + penalty


def semi_supervised_loss(
    logits: jax.Array, targets: jax.Array, labelled: int, unlabelled_weight: jax.Array
) -> jax.Array:
    """L_X + weight * L_U of mixed rows, scalar (MixMatch, Eq. 3-5).

    L_X is the mean cross-entropy of the labelled rows, L_U the mean squared error of the probabilities of the
    other rows, over rows and classes.

    Args:
        logits: [rows, c], the labelled rows first.
        targets: [rows, c].
        labelled: rows of L_X.
        unlabelled_weight: lambda_u, scalar.
    """
    fit = jnp.mean(losses.cross_entropy(logits[:labelled], targets[:labelled]))
    errors = (jax.nn.softmax(logits[labelled:]) - targets[labelled:]) ** 2
    return fit + unlabelled_weight * jnp.mean(errors)
