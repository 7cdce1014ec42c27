"""Implements ELR+ (Liu et al., NeurIPS 2020): ELR with mixup, two networks and averages of their weights.

Each network's running targets come from the weight average of the other network. The published numbers come
from the authors' code, which is followed where it is more specific than the paper: the average's batch
statistics are those of its own forward passes, its momentum rises from 0, and the prediction is the mean of
the two networks' logits, not of their averages'. There are two differences: both networks are trained on
every batch together, not one after the other for an epoch, and the running targets' probabilities are clipped
as in ELR.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.average import Average, averaged
from dmlp_jax.retrain.methods.elr import running_target
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer


class ELRPlusState(NamedTuple):
    """Attributes: `networks`, `averages`, one of each pair; `tables`, their running targets, [n, c] each."""

    networks: tuple[TrainState, TrainState]
    averages: tuple[Average, Average]
    tables: tuple[jax.Array, jax.Array]


@register("elr_plus")
def make_elr_plus(settings: ConfigDict, task: Task) -> Method:
    """ELR+ with `elr_beta`, `elr_strength`, `elr_ramp`, `mixup`, `ema` and `ema_ramp`.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.
    """
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> ELRPlusState:
        first, second = (network.init(k, train.inputs) for k in jax.random.split(key))
        averages = Average(first.params, first.batch_stats), Average(second.params, second.batch_stats)
        table = jnp.zeros(train.targets.shape, jnp.float32)
        return ELRPlusState((first, second), averages, (table, table))

    def train_step(state: ELRPlusState, batch: Batch, *, axis_name: str | None) -> tuple[ELRPlusState, dict]:
        done = batch.epoch / settings.epochs
        strength = settings.elr_strength * ramp(done, settings.elr_ramp)
        keep = settings.ema * ramp(done, settings.ema_ramp)
        images, targets = augment.to_float(batch.data["inputs"]), batch.data["targets"]

        def learn(which):
            keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(batch.keys, which)
            dropout, peer_dropout, mix_key = jax.random.split(jax.random.fold_in(batch.key, which), 3)
            inputs, before, peer = policy(keys, images), state.networks[which], state.averages[1 - which]
            peer_logits, peer_stats = network.train_logits(*peer, inputs, peer_dropout, axis_name)
            table = running_target(state.tables[which][batch.rows], peer_logits, settings.elr_beta)
            mix = mixing.draw(mix_key, 1, len(targets), settings.mixup, axis_name)
            mixed, goals, hold = (
                mixing.apply(mix, rows[None], axis_name)[0] for rows in (inputs, targets, table)
            )
            if settings.elr_reweight:
                goals = reweighted(goals, hold)

            def loss_fn(params):
                logits, stats = network.train_logits(params, before.batch_stats, mixed, dropout, axis_name)
                fit = jnp.mean(losses.cross_entropy(logits, goals))
                return fit + strength * jnp.mean(losses.early_learning(logits, hold)), stats

            (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
            after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
            stored = mixing.put_rows(state.tables[which], batch.rows, table, axis_name)
            return after, stored, peer_stats, loss, agreement(peer_logits, targets)

        networks, tables, peer_stats, values, hits = zip(learn(0), learn(1), strict=True)
        first, second = (
            Average(averaged(old.params, new.params, keep), stats)
            for old, new, stats in zip(state.averages, networks, peer_stats[::-1], strict=True)
        )
        metrics = {"loss": sum(values) / 2, "train_accuracy": sum(hits) / 2}
        return ELRPlusState(networks, (first, second), tables), metrics

    def predict(state: ELRPlusState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(sum(network.logits(one, inputs) for one in state.networks) / 2)

    return Method(init, train_step, predict)


def ramp(done: jax.Array, length: float) -> jax.Array:
    """exp(-5 (1 - done / length)^2) up to `length`, then 1 (Laine and Aila 2017).

    Args:
        done: share of the training that is done, in [0, 1].
        length: share of the training over which the value rises; 0 for no rise.
    """
    return (
        jnp.exp(-5.0 * (1.0 - jnp.clip(done / max(length, 1e-9), 0.0, 1.0)) ** 2) if length else jnp.ones(())
    )


def reweighted(targets: jax.Array, table: jax.Array) -> jax.Array:
    """Targets * table, normalised to sum to 1, [b, c]; used by the authors' code with 100 classes."""
    product = targets * table
    return product / jnp.maximum(jnp.sum(product, axis=-1, keepdims=True), 1e-8)
