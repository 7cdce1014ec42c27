"""Implements PENCIL, probabilistic end-to-end noise correction (Yi and Wu, CVPR 2019).

Every row has a label distribution d = softmax(t), whose logits t start at K times the given label. After a
warm-up on the given labels the network is trained towards d, and d follows the network: each step changes the
network's weights and the logits t of the batch's rows. At last the labels are fixed and the network learns
them.

The authors' code is followed. Its divergences and entropies are means over rows and classes, so with more
classes they weigh less. One bug is mended: its learning rates of the last stage are divided as whole
numbers, which makes them 0 from a third of that stage on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer


class PencilState(NamedTuple):
    """Attributes: `network`, the training state; `logits`, those of the label distributions [n, c]."""

    network: TrainState
    logits: jax.Array


@register("pencil")
def make_pencil(settings: ConfigDict, task: Task) -> Method:
    """PENCIL with `correct_start`, `correct_stop`, `label_lr` and others; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: the labels would be corrected before the start or after the end of the training.
    """
    if not 0 <= settings.correct_start < settings.correct_stop <= 1:
        raise UserError(
            f"recipes.pencil.correct_start is {settings.correct_start} and correct_stop "
            f"{settings.correct_stop}; these shares of the epochs must rise within 0 and 1"
        )
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)
    start, stop = (
        round(share * settings.epochs) for share in (settings.correct_start, settings.correct_stop)
    )
    middle = (start + stop) / 2

    def init(key: jax.Array, train: TrainingSet) -> PencilState:
        return PencilState(network.init(key, train.inputs), settings.label_scale * jnp.asarray(train.targets))

    def train_step(state: PencilState, batch: Batch, *, axis_name: str | None) -> tuple[PencilState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        targets, before = batch.data["targets"], state.network
        labels = state.logits[batch.rows]
        correcting = (batch.epoch >= start) & (batch.epoch < stop)

        def loss_fn(params):
            logits, stats = network.train_logits(params, before.batch_stats, inputs, batch.key, axis_name)
            follow = jnp.mean(divergence(logits, labels))
            entropy = -jnp.mean(losses.negative_entropy(logits)) / task.num_classes
            later = follow + correcting * settings.entropy * entropy
            first = jnp.mean(losses.cross_entropy(logits, targets))
            return jnp.where(batch.epoch < start, first, later), (logits, stats)

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        slopes = label_slopes(labels, jax.nn.softmax(logits), targets, settings)
        rate = settings.label_lr * jnp.where(batch.epoch < middle, 1.0, settings.label_lr_drop)
        moved = labels - correcting * rate * slopes
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, targets)}
        return PencilState(after, mixing.put_rows(state.logits, batch.rows, moved, axis_name)), metrics

    def predict(state: PencilState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: PencilState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        del inputs, targets
        return jax.nn.softmax(state.logits[rows])

    return Method(init, train_step, predict, correct=correct)


def divergence(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """KL(p || d) / c of the prediction p and the label distribution d, [b].

    Args:
        logits: logits [b, c] of p.
        labels: logits [b, c] of d.
    """
    log_probs, log_labels = jax.nn.log_softmax(logits), jax.nn.log_softmax(labels)
    return jnp.mean(jnp.exp(log_probs) * (log_probs - log_labels), axis=-1)


def label_slopes(labels: jax.Array, probs: jax.Array, targets: jax.Array, settings: ConfigDict) -> jax.Array:
    """Slopes of a row's losses with respect to the logits of its label distribution, [b, c].

    These losses are `divergence` and `compatibility` times a cross-entropy that keeps d near the given label
    y. The paper's is that of d. The authors' code, with `double_softmax`, takes d for logits, which is much
    weaker; their constants belong to it.

    Args:
        labels: logits of d [b, c].
        probs: predictions p [b, c].
        targets: given labels y [b, c].
        settings: with compatibility and double_softmax.
    """
    found = jax.nn.softmax(labels)
    if settings.double_softmax:
        outer = jax.nn.softmax(found) - targets
        keep = found * (outer - jnp.sum(found * outer, axis=-1, keepdims=True))
    else:
        keep = found - targets
    return (found - probs) / probs.shape[-1] + settings.compatibility * keep
