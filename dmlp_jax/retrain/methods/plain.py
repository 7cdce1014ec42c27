"""Trains one network on one loss: DMLP-Naive (cross-entropy), generalised cross-entropy, bootstrapping."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer

Loss = Callable[[jax.Array, jax.Array], jax.Array]


@register("naive")
def make_naive(settings: ConfigDict, task: Task) -> Method:
    """Cross-entropy on the labels, hard or soft; see `retrain.method` for the contract."""
    return one_network(settings, task, losses.cross_entropy)


@register("gce")
def make_gce(settings: ConfigDict, task: Task) -> Method:
    """Generalised cross-entropy with `gce_q`; see `losses.generalized_cross_entropy`."""
    return one_network(settings, task, partial(losses.generalized_cross_entropy, q=settings.gce_q))


@register("bootstrap")
def make_bootstrap(settings: ConfigDict, task: Task) -> Method:
    """Soft bootstrapping with `bootstrap_share`; see `losses.bootstrapping`."""
    return one_network(settings, task, partial(losses.bootstrapping, share=settings.bootstrap_share))


def one_network(
    settings: ConfigDict, task: Task, loss: Loss, optimizer: optax.GradientTransformation | None = None
) -> Method:
    """A method that trains one network on the mean of a row-wise loss.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.
        loss: `(logits [b, c], targets [b, c]) -> [b]`.
        optimizer: the optimiser; None takes that of the settings.
    """
    network = Network(settings, task, optimizer or make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> TrainState:
        return network.init(key, train.inputs)

    def train_step(
        state: TrainState, batch: Batch, *, axis_name: str | None, **extra: Any
    ) -> tuple[TrainState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        targets = batch.data["targets"]

        def loss_fn(params):
            logits, batch_stats = network.train_logits(
                params, state.batch_stats, inputs, batch.key, axis_name
            )
            return jnp.mean(loss(logits, targets)), (logits, batch_stats)

        (value, (logits, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        metrics = {"loss": value, "train_accuracy": agreement(logits, targets)}
        return network.step(state, grads, batch_stats, axis_name, epoch=batch.epoch, **extra), metrics

    def predict(state: TrainState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state, inputs))

    return Method(init, train_step, predict)


def agreement(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Share of rows whose most probable class is the target's, scalar."""
    hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return jnp.mean(hits.astype(jnp.float32))
