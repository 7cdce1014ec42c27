"""Implements MSLC (Wu et al., AAAI 2021): labels blended from given label, past and present prediction.

After epochs of plain cross-entropy each row is trained on v y + (1 - v) (v1 q + (1 - v1) p), where y is the
given label, q the row's label so far and p the present prediction, q and p as their most probable class. Two
small networks compute v from the loss of y, and v1 from the loss of q. They are trained on the clean rows'
loss after one step of gradient descent on a copy. The same blend of distributions is the row's next label.

The authors' code is followed. Its look-ahead rate is ten times the network's rate from the first drop on,
`lookahead_scale`. In the copy's step the weights are constant with respect to the network's parameters, and
no gradient flows through them in the network's own step. Unlike in the authors' code, which draws clean and
noisy rows independently, clean rows are not among the noisy ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.coupled import meta_nets, meta_set
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


class MSLCState(NamedTuple):
    """State of the three networks.

    Attributes:
        network: state of the classifier.
        weights: state of the two weight networks, under 'given' and 'past'.
        table: the labels of the noisy rows so far, [n, c].
    """

    network: TrainState
    weights: MetaState
    table: jax.Array


@register("mslc")
def make_mslc(settings: ConfigDict, task: Task) -> Method:
    """MSLC with `correct_start`, `lookahead_scale`, `meta_lr`, `meta_decay` and `weight_width`."""
    meta_set.check(settings)
    rate = learning_rates.make(settings)
    network = Network(settings, task, make_optimizer(settings, rate))
    weight_net = WeightNet(settings.weight_width)
    meta_optimizer = meta_nets.adam(settings.meta_lr, settings.meta_decay)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MSLCState:
        noisy = meta_set.noisy_rows(train, settings)
        network_key, *keys = jax.random.split(key, 3)
        params = {
            name: weight_net.init(k, jnp.zeros(1))["params"]
            for name, k in zip(("given", "past"), keys, strict=True)
        }
        return MSLCState(
            network.init(network_key, train.inputs),
            meta_nets.init_meta(params, meta_optimizer),
            jnp.asarray(train.targets[:noisy], jnp.float32),
        )

    def train_step(state: MSLCState, batch: Batch, *, axis_name: str | None) -> tuple[MSLCState, dict]:
        rows = meta_set.views(policy, batch)
        train_key, meta_key = jax.random.split(batch.key)
        done = TrainingPass(network, state.network, rows["train"].inputs, train_key, axis_name)
        index, targets = batch.rows["train"], rows["train"].targets
        weights, goals, labels, metrics = state.weights, targets, jax.nn.softmax(done.logits), {}
        if "meta" in rows:
            past = state.table[index]
            blended = blending(done.logits, targets, past)
            hard = jax.nn.one_hot(jnp.argmax(jnp.stack([past, labels]), axis=-1), task.num_classes)
            lookahead_rate = settings.lookahead_scale * rate(batch.epoch)
            metrics["meta_loss"], meta_grads = done.meta_gradient(
                lambda params: blended(params, *hard), weights.params, lookahead_rate, rows["meta"], meta_key
            )
            weights = meta_nets.update_meta(weights, meta_grads, meta_optimizer)
            goals, labels = blended(weights.params, *hard), blended(weights.params, past, labels)
        loss, grads = done.gradient(goals)
        after = network.step(state.network, grads, done.batch_stats, None, epoch=batch.epoch)
        metrics |= {"loss": loss, "train_accuracy": agreement(done.logits, targets)}
        return MSLCState(after, weights, mixing.put_rows(state.table, index, labels, axis_name)), metrics

    def weigh(params: Any, costs: jax.Array) -> Any:
        return weight_net.apply({"params": params}, costs)

    def blending(logits: jax.Array, targets: jax.Array, past: jax.Array) -> Any:
        """`(weight networks' parameters, past labels, present ones) -> blend`, all labels [b, c]."""
        past_class = jax.nn.one_hot(jnp.argmax(past, axis=-1), task.num_classes)
        given_loss, past_loss = (losses.cross_entropy(logits, goal) for goal in (targets, past_class))

        def blend(params, past, present):
            given_weight = weigh(params["given"], given_loss)[:, None]
            past_weight = weigh(params["past"], past_loss)[:, None]
            own = past_weight * past + (1.0 - past_weight) * present
            return given_weight * targets + (1.0 - given_weight) * own

        return blend

    def predict(state: MSLCState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: MSLCState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        return state.table[rows]

    first = round(settings.correct_start * settings.epochs)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        return meta_set.make_planner(train, settings, first)

    return Method(init, train_step, predict, make_planner, correct, alike_from=first)
