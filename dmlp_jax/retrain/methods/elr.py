"""Implements ELR (Liu et al., NeurIPS 2020): cross-entropy regularised towards running mean predictions.

Every row has a running target t <- beta t + (1 - beta) p, the moving average of its predictions p. The loss
is cross-entropy plus strength * mean log(1 - <t, p>), whose gradient keeps p near t when the network starts
to memorise the labels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer


class ELRState(NamedTuple):
    """Attributes: `network`, the training state; `table`, the running targets [n, c]."""

    network: TrainState
    table: jax.Array


@register("elr")
def make_elr(settings: ConfigDict, task: Task) -> Method:
    """One network, `elr_beta` and `elr_strength`; see `retrain.method` for the contract."""
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> ELRState:
        return ELRState(network.init(key, train.inputs), jnp.zeros(train.targets.shape, jnp.float32))

    def train_step(state: ELRState, batch: Batch, *, axis_name: str | None) -> tuple[ELRState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        targets, before = batch.data["targets"], state.network

        def loss_fn(params):
            logits, stats = network.train_logits(params, before.batch_stats, inputs, batch.key, axis_name)
            table = running_target(state.table[batch.rows], logits, settings.elr_beta)
            fit = jnp.mean(losses.cross_entropy(logits, targets))
            hold = jnp.mean(losses.early_learning(logits, table))
            return fit + settings.elr_strength * hold, (logits, stats, table)

        (loss, (logits, stats, table)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, targets)}
        return ELRState(after, mixing.put_rows(state.table, batch.rows, table, axis_name)), metrics

    def predict(state: ELRState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    return Method(init, train_step, predict)


def running_target(table: jax.Array, logits: jax.Array, beta: float) -> jax.Array:
    """Beta t + (1 - beta) p / sum(p) with p = softmax(logits) clipped to [1e-4, 1 - 1e-4]; [b, c].

    Args:
        table: t before, [b, c].
        logits: logits [b, c] of the same rows; no gradient flows through them.
        beta: decay of the moving average.
    """
    probs = jax.lax.stop_gradient(losses.clipped_probs(logits))
    return beta * table + (1.0 - beta) * probs / jnp.sum(probs, axis=-1, keepdims=True)
