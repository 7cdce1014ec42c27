"""Implements Meta-Weight-Net (Shu et al., NeurIPS 2019): a small network maps a row's loss to its weight.

The loss is 1/b sum_i v(l_i) l_i, with l_i the cross-entropy of row i and no gradient through v's argument. v
is trained on the clean rows' loss after one step of plain gradient descent at the schedule's rate, then the
network takes its own step, with momentum and decay, under the new v. As in the authors' code, the weights are
not divided by their sum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.coupled import meta_nets, meta_set, relabel
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.coupled.meta_nets import MetaState, WeightNet
from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class MetaWeightNetState(NamedTuple):
    """Attributes: `network`; `weights`, the state of v; `table`, running weights of the noisy rows [n]."""

    network: TrainState
    weights: MetaState
    table: jax.Array


@register("meta_weight_net")
def make_meta_weight_net(settings: ConfigDict, task: Task) -> Method:
    """Meta-Weight-Net with `lookahead_scale`, `meta_lr`, `meta_decay` and `weight_width`."""
    meta_set.check(settings)
    rate = learning_rates.make(settings)
    network = Network(settings, task, make_optimizer(settings, rate))
    weight_net = WeightNet(settings.weight_width)
    meta_optimizer = meta_nets.adam(settings.meta_lr, settings.meta_decay)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MetaWeightNetState:
        noisy = meta_set.noisy_rows(train, settings)
        network_key, weight_key = jax.random.split(key)
        params = weight_net.init(weight_key, jnp.zeros(1))["params"]
        return MetaWeightNetState(
            network.init(network_key, train.inputs),
            meta_nets.init_meta(params, meta_optimizer),
            jnp.zeros(noisy, jnp.float32),
        )

    def train_step(
        state: MetaWeightNetState, batch: Batch, *, axis_name: str | None
    ) -> tuple[MetaWeightNetState, dict]:
        rows, index = meta_set.views(policy, batch), batch.rows["train"]
        targets = rows["train"].targets
        train_key, meta_key = jax.random.split(batch.key)
        done = TrainingPass(network, state.network, rows["train"].inputs, train_key, axis_name)
        costs = losses.cross_entropy(done.logits, targets)

        def weights_of(params):
            return weight_net.apply({"params": params}, costs)

        meta_loss, meta_grads = done.meta_gradient(
            lambda params: weights_of(params)[:, None] * targets,
            state.weights.params,
            settings.lookahead_scale * rate(batch.epoch),
            rows["meta"],
            meta_key,
        )
        meta = meta_nets.update_meta(state.weights, meta_grads, meta_optimizer)
        weights = weights_of(meta.params)
        loss, grads = done.gradient(weights[:, None] * targets)
        after = network.step(state.network, grads, done.batch_stats, None, epoch=batch.epoch)
        running = relabel.average(state.table[index], weights)
        table = mixing.put_rows(state.table, index, running, axis_name)
        metrics = {
            "loss": loss,
            "meta_loss": meta_loss,
            "weight": jnp.mean(weights),
            "train_accuracy": agreement(done.logits, targets),
        }
        return MetaWeightNetState(after, meta, table), metrics

    def predict(state: MetaWeightNetState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(
        state: MetaWeightNetState, inputs: jax.Array, targets: jax.Array, rows: jax.Array
    ) -> jax.Array:
        return relabel.correct(state.table, rows, targets, predict(state, inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        return meta_set.make_planner(train, settings)

    return Method(init, train_step, predict, make_planner, correct)
