"""Selects rows of a batch as ProMix does, across devices, and takes means over the selected ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.retrain.methods.mixmatch import sharpen


class Choice(NamedTuple):
    """What one network learns of a batch.

    Attributes:
        chosen: which rows are chosen [b], bool.
        goals: their labels [b, c].
        doubtful: labels of the other rows, for the pseudo head [b, c].
    """

    chosen: jax.Array
    goals: jax.Array
    doubtful: jax.Array


def mean_weights(chosen: jax.Array, axis_name: str | None) -> jax.Array:
    """Weights [b] whose sum with losses is, as a mean over devices, the mean loss of the chosen rows.

    Zeros where no row of any device is chosen.

    Args:
        chosen: which rows are chosen [b], bool.
        axis_name: pmap axis.
    """
    weights = chosen.astype(jnp.float32)
    count, devices = jnp.sum(weights), 1
    if axis_name is not None:
        count, devices = jax.lax.psum(count, axis_name), jax.lax.axis_size(axis_name)
    return weights * devices / jnp.maximum(count, 1.0)


def mean_of(values: jax.Array, chosen: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean over the chosen rows of all devices of values [b, c], [c]; zeros where there are none."""
    total = jnp.sum(mean_weights(chosen, axis_name)[:, None] * values, axis=0)
    return total if axis_name is None else jax.lax.pmean(total, axis_name)


def confident(chosen: jax.Array, targets: jax.Array, probs: jax.Array, threshold: float) -> jax.Array:
    """Adds rows whose label has a probability above `threshold`; which rows are chosen then, [b] bool.

    Args:
        chosen: rows chosen before [b], bool.
        targets: labels [b, c].
        probs: predictions [b, c].
        threshold: tau.
    """
    return chosen | (jnp.sum(targets * probs, axis=-1) > threshold)


def agreed(
    chosen: jax.Array,
    first: jax.Array,
    second: jax.Array,
    threshold: float,
    fill: float,
    axis_name: str | None,
) -> jax.Array:
    """Further rows for which two networks predict the same class, each above `threshold`; [b] bool.

    Of these the rows with the largest mean probability are taken, until the share `fill` of the whole batch
    is chosen.

    Args:
        chosen: rows chosen before [b], bool.
        first: predictions of one network [b, c].
        second: predictions of the other network [b, c].
        threshold: tau.
        fill: share of the batch over all devices, in [0, 1].
        axis_name: pmap axis.
    """
    tops = jnp.max(first, axis=-1), jnp.max(second, axis=-1)
    same = jnp.argmax(first, axis=-1) == jnp.argmax(second, axis=-1)
    fitting = same & (tops[0] > threshold) & (tops[1] > threshold) & ~chosen
    size = len(chosen)
    scores, before = jnp.where(fitting, tops[0] + tops[1], -jnp.inf), chosen
    offset: jax.Array | int = 0
    if axis_name is not None:
        scores, before = jax.lax.all_gather((scores, before), axis_name, tiled=True)
        offset = jax.lax.axis_index(axis_name) * size
    room = int(fill * len(scores)) - jnp.sum(before)
    rank = jnp.argsort(jnp.argsort(-scores, stable=True))
    return fitting & (jax.lax.dynamic_slice_in_dim(rank, offset, size) < room)


def choose(
    small: jax.Array,
    targets: jax.Array,
    plain: list[jax.Array],
    which: int,
    priors: jax.Array,
    late: jax.Array,
    settings: ConfigDict,
    axis_name: str | None,
) -> Choice:
    """Which rows of a batch a network learns, and towards which labels.

    Args:
        small: rows with a small loss [b], bool.
        targets: given labels [b, c].
        plain: logits of both networks for the weak views, [b, c] each.
        which: the network, 0 or 1.
        priors: its running mean predictions of chosen rows and of the others, [2, c].
        late: whether rows on which the networks agree are chosen too; scalar.
        settings: with confidence, debias, fill and sharpen.
        axis_name: pmap axis.
    """
    probs = [jax.nn.softmax(logits) for logits in plain]
    own = confident(small, targets, probs[which], settings.confidence)
    guesses, doubtful = (debiased(plain[which], prior, settings.debias) for prior in priors)
    guesses = jax.nn.one_hot(jnp.argmax(guesses, axis=-1), targets.shape[-1])
    both = agreed(own, probs[0], probs[1], settings.confidence, settings.fill, axis_name)
    goals = jnp.where(own[:, None], targets, guesses)
    return Choice(own | (both & late), goals, sharpen(doubtful, settings.sharpen))


def debiased(logits: jax.Array, prior: jax.Array, strength: float) -> jax.Array:
    """softmax(z - b log pi), [b, c]: predictions without the bias towards frequent classes.

    Args:
        logits: z [b, c].
        prior: mean prediction pi [c].
        strength: b.
    """
    return jax.nn.softmax(logits - strength * jnp.log(prior))


def later_priors(
    priors: jax.Array, plain: jax.Array, chosen: jax.Array, decay: float, axis_name: str | None
) -> jax.Array:
    """A network's running mean predictions after one step, of chosen rows and of the others, [2, c].

    Where there are no such rows the mean stays.

    Args:
        priors: those before [2, c].
        plain: logits of the weak views [b, c].
        chosen: which rows are chosen [b], bool.
        decay: decay of the running means.
        axis_name: pmap axis.
    """
    probs = jax.nn.softmax(plain)
    means = jnp.stack([mean_of(probs, mask, axis_name) for mask in (chosen, ~chosen)])
    there = jnp.sum(means, axis=1, keepdims=True) > 0
    return jnp.where(there, decay * priors + (1.0 - decay) * means, priors)
