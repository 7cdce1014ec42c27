"""Implements FixMatch (Sohn et al., NeurIPS 2020) and UDA (Xie et al., NeurIPS 2020).

Where the network is confident on the weak view of an unlabelled image, its prediction is the target of the
strong view: FixMatch takes the most probable class, UDA the sharpened distribution. As in both authors' code
all views go through the network in one pass, so that batch statistics are those of all of them, and the loss
is averaged over all unlabelled rows, confident or not. UDA's training signal annealing is left out: it is
optional in the authors' code and off in the CIFAR-10 runs that others cite.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, register
from dmlp_jax.retrain.methods import losses, semi_supervised
from dmlp_jax.retrain.methods.plain import agreement


@register("fixmatch", semi_supervised.NEEDS)
def make_fixmatch(settings: ConfigDict, task: Task) -> Method:
    """FixMatch with `confidence`, `unlabelled_weight`, `unlabelled_ratio` and `ema`; see recipes."""
    return _make(settings, task, pseudo_label)


@register("uda", semi_supervised.NEEDS)
def make_uda(settings: ConfigDict, task: Task) -> Method:
    """UDA: as FixMatch, with `sharpen`."""
    if settings.sharpen <= 0:
        raise UserError(f"recipes.uda.sharpen is {settings.sharpen}; this temperature must be above 0")

    def consistency(weak, strong, confidence):
        return divergence(weak, strong, confidence, settings.sharpen)

    return _make(settings, task, consistency)


def _make(settings: ConfigDict, task: Task, consistency) -> Method:
    if not 0 <= settings.confidence <= 1:
        raise UserError(f"confidence is {settings.confidence}; this probability must lie in [0, 1]")

    def objective(params, network, state, views, batch, axis_name):
        images = jnp.concatenate([views.labelled, *views.unlabelled])
        logits, stats = network.train_logits(params, state.network.batch_stats, images, batch.key, axis_name)
        labelled, rows = len(views.labelled), len(views.unlabelled[0])
        logits, weak, strong = jnp.split(logits, [labelled, labelled + rows])
        fit = jnp.mean(losses.cross_entropy(logits, views.targets))
        values, sure = consistency(weak, strong, settings.confidence)
        metrics = {"train_accuracy": agreement(logits, views.targets), "sure": jnp.mean(sure)}
        return fit + settings.unlabelled_weight * jnp.mean(values), (stats, metrics)

    return semi_supervised.make(settings, task, objective, strong=True)


def pseudo_label(weak: jax.Array, strong: jax.Array, confidence: float) -> tuple[jax.Array, jax.Array]:
    """1[max p >= confidence] * cross-entropy(argmax p, q), and the indicator, [b] each (FixMatch, Eq. 4).

    Args:
        weak: logits [b, c] of p; no gradient flows through them.
        strong: logits [b, c] of q.
        confidence: threshold tau.
    """
    probs = jax.lax.stop_gradient(jax.nn.softmax(weak))
    sure = jnp.max(probs, axis=-1) >= confidence
    targets = jax.nn.one_hot(jnp.argmax(probs, axis=-1), probs.shape[-1])
    return sure * losses.cross_entropy(strong, targets), sure


def divergence(
    weak: jax.Array, strong: jax.Array, confidence: float, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """1[max p >= confidence] * KL(sharpened p || q), and the indicator, [b] each (UDA, section 2).

    The threshold applies to p before sharpening.

    Args:
        weak: logits [b, c] of p; no gradient flows through them.
        strong: logits [b, c] of q.
        confidence: threshold.
        temperature: temperature of the sharpening.
    """
    weak = jax.lax.stop_gradient(weak)
    sure = jnp.max(jax.nn.softmax(weak), axis=-1) >= confidence
    log_targets = jax.nn.log_softmax(weak / temperature)
    targets = jnp.exp(log_targets)
    entropy = -jnp.sum(targets * log_targets, axis=-1)
    return sure * (losses.cross_entropy(strong, targets) - entropy), sure
