"""Implements Co-teaching (Han et al., NeurIPS 2018) and Co-teaching+ (Yu et al., ICML 2019).

Two networks are trained on the same batches. Each selects the rows with its smallest losses, and the other
network is trained on these. In Co-teaching+ they select among the rows on which their predictions differ.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, known_rate, register
from dmlp_jax.retrain.methods import losses
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.state import TrainState, make_optimizer, matrices, scale_by_epoch


class CoTeachingState(NamedTuple):
    """Attributes: `networks`, a pair; `noise_rate`, scalar."""

    networks: tuple[TrainState, TrainState]
    noise_rate: jax.Array


@register("co_teaching")
def make_co_teaching(settings: ConfigDict, task: Task) -> Method:
    """Co-teaching; see `retrain.method` for the contract.

    The loss is the mean over the selected rows, as in the paper; the authors' code divides by their number
    twice. Of their 200 epochs the first is an evaluation only; here 200 are trained.
    """
    return _make(settings, task, disagreement=False)


@register("co_teaching_plus")
def make_co_teaching_plus(settings: ConfigDict, task: Task) -> Method:
    """Co-teaching for `plus_start` of the epochs, then selection among rows on which the networks disagree.

    As in the paper, a batch without disagreement has no gradient. Three details of the authors' code are not
    followed: it takes the softmax twice, drops the first row of some batches, and keeps all rows of
    disagreement where rounding would keep none (here one row is kept).
    """
    return _make(settings, task, disagreement=True)


def _make(settings: ConfigDict, task: Task, disagreement: bool) -> Method:
    if settings.forget_epochs < 1:
        raise UserError(
            f"recipes.{settings.method}.forget_epochs is {settings.forget_epochs}; it must be at least 1"
        )
    network = Network(settings, task, _optimizer(settings, task))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> CoTeachingState:
        rate = known_rate(train.noise_rate, "Co-teaching leaves that share of every batch out")
        first, second = (network.init(k, train.inputs) for k in jax.random.split(key))
        return CoTeachingState((first, second), jnp.float32(rate))

    def train_step(
        state: CoTeachingState, batch: Batch, *, axis_name: str | None
    ) -> tuple[CoTeachingState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        targets, keys = batch.data["targets"], jax.random.split(batch.key)
        keep = 1.0 - forget_rate(state.noise_rate, batch.epoch, settings.forget_epochs)
        ones = jnp.ones(len(targets), bool)

        # One function for both networks is safe: no gradient flows through the selection of rows.
        def loss_fn(params):
            outcomes = [
                network.train_logits(params[i], state.networks[i].batch_stats, inputs, keys[i], axis_name)
                for i in (0, 1)
            ]
            logits, stats = zip(*outcomes, strict=True)
            costs = [losses.cross_entropy(one, targets) for one in logits]
            eligible = ones
            if disagreement:
                differ = jnp.argmax(logits[0], axis=-1) != jnp.argmax(logits[1], axis=-1)
                eligible = jnp.where(batch.epoch < settings.plus_start * settings.epochs, ones, differ)
            weights = [small_loss_weights(cost, eligible, keep, axis_name) for cost in costs]
            totals = jnp.stack([jnp.sum(weights[1] * costs[0]), jnp.sum(weights[0] * costs[1])])
            return jnp.sum(totals), (logits, stats, totals)

        params = tuple(one.params for one in state.networks)
        (_, (logits, stats, totals)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        first, second = (
            network.step(one, grads[i], stats[i], axis_name, epoch=batch.epoch)
            for i, one in enumerate(state.networks)
        )
        metrics = {
            "loss": jnp.mean(totals),
            "train_accuracy": (agreement(logits[0], targets) + agreement(logits[1], targets)) / 2,
            "kept": keep,
        }
        return CoTeachingState((first, second), state.noise_rate), metrics

    def predict(state: CoTeachingState, inputs: jax.Array) -> jax.Array:
        # The paper reports either network; the mean of both avoids choosing one.
        first, second = (jax.nn.softmax(network.logits(one, inputs)) for one in state.networks)
        return (first + second) / 2

    return Method(init, train_step, predict)


def _optimizer(settings: ConfigDict, task: Task) -> optax.GradientTransformation:
    """Adam whose beta_1 falls from .9 to .1 when the learning rate starts to decay, else by the settings.

    Weight decay is L2, as in PyTorch's Adam.
    """
    if settings.optimizer != "adam_switch":
        return make_optimizer(settings, learning_rates.make(settings))
    switch = round(settings.lr_decay_start * settings.epochs * task.steps_per_epoch)
    adam = optax.inject_hyperparams(optax.scale_by_adam)(b1=lambda step: jnp.where(step < switch, 0.9, 0.1))
    decay = optax.add_decayed_weights(settings.weight_decay, matrices)
    return optax.chain(decay, adam, scale_by_epoch(learning_rates.make(settings)))


def forget_rate(noise_rate: jax.Array, epoch: jax.Array, ramp_epochs: int) -> jax.Array:
    """Share of every batch that is left out, noise_rate * min((T + 1) / (T_k - 1), 1), scalar.

    T are the whole epochs done. As in the authors' code, the rate takes T_k values from 0 to the noise rate,
    and training begins with the second of them, because epoch 0 is an evaluation only. The paper has
    min(T / T_k, 1).

    Args:
        noise_rate: share of wrong labels.
        epoch: epochs done, with fraction.
        ramp_epochs: T_k.
    """
    return noise_rate * jnp.clip((jnp.floor(epoch) + 1.0) / max(ramp_epochs - 1, 1), 0.0, 1.0)


def small_loss_weights(
    costs: jax.Array, eligible: jax.Array, keep: jax.Array, axis_name: str | None
) -> jax.Array:
    """Weights [b] for averaging over the rows with the smallest losses; no gradient flows through them.

    Of the eligible rows of all devices the share `keep` is kept, rounded down but at least one row. The
    weights are scaled so that the mean over devices of sum(weights * losses) is the mean over kept rows.

    Args:
        costs: losses [b].
        eligible: which rows may be selected [b], bool.
        keep: share that is kept, scalar.
        axis_name: pmap axis.
    """
    own = jnp.where(eligible, jax.lax.stop_gradient(costs), jnp.inf)
    size, devices, first = len(own), 1, jnp.int32(0)
    everything = own
    if axis_name is not None:
        everything = jax.lax.all_gather(own, axis_name, tiled=True)
        devices = jax.lax.axis_size(axis_name)
        first = jax.lax.axis_index(axis_name) * size
    rank = jnp.argsort(jnp.argsort(everything))
    candidates = jnp.sum(jnp.isfinite(everything))
    # The small number corrects rounding, as in 0.8 * 10 = 7.9999995.
    count = jnp.minimum(jnp.maximum(jnp.floor(keep * candidates + 1e-4), 1.0), candidates)
    kept = jax.lax.dynamic_slice_in_dim(rank, first, size) < count
    return kept * devices / jnp.maximum(count, 1.0)
