"""Implements L2R, learning to reweight (Ren et al., ICML 2018): rows are weighted by their meta gradient.

With L(e) = sum_i e_i l_i and V the loss on the clean rows, the weights of a step are

    u_i = max(0, -dV(w - grad L(e)) / de_i at e = 0),    w_i = u_i / sum_j u_j    (0 where all u are).

At e = 0 the look-ahead step has length 0, so the derivative is the inner product <grad l_i(w), grad V(w)>.
The authors' code has both forms, the look-ahead (`legacy`) and the inner product, its default; they are
equal. Here the inner products of all rows come from one forward-mode pass. The weight decay, which the
authors' code adds to the losses, is not part of the products.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.coupled import lookahead, meta_set, relabel
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.data import augment
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class L2RState(NamedTuple):
    """Attributes: `network`; `table`, running weights of the noisy rows [n], where 1 is a batch's mean."""

    network: TrainState
    table: jax.Array


@register("l2r")
def make_l2r(settings: ConfigDict, task: Task) -> Method:
    """L2R, which has no constants of its own; see `retrain.method` for the contract."""
    meta_set.check(settings)
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> L2RState:
        noisy = meta_set.noisy_rows(train, settings)
        return L2RState(network.init(key, train.inputs), jnp.zeros(noisy, jnp.float32))

    def train_step(state: L2RState, batch: Batch, *, axis_name: str | None) -> tuple[L2RState, dict]:
        rows, index = meta_set.views(policy, batch), batch.rows["train"]
        targets = rows["train"].targets
        train_key, meta_key = jax.random.split(batch.key)
        done = TrainingPass(network, state.network, rows["train"].inputs, train_key, axis_name)
        meta_loss, judged = done.clean_gradient(state.network.params, rows["meta"], meta_key)
        slopes = done.target_slopes(lookahead.scaled(-1.0, judged))
        # The slopes are of the mean loss, whereas L is a sum; normalising by the sum of u removes the factor.
        weights = normalized(-jnp.sum(slopes * targets, axis=-1), axis_name)
        loss, grads = done.gradient(weights[:, None] * targets)
        after = network.step(state.network, grads, done.batch_stats, None, epoch=batch.epoch)
        running = relabel.average(state.table[index], weights)
        metrics = {
            "loss": loss,
            "meta_loss": meta_loss,
            "kept": jnp.mean((weights > 0).astype(jnp.float32)),
            "train_accuracy": agreement(done.logits, targets),
        }
        return L2RState(after, mixing.put_rows(state.table, index, running, axis_name)), metrics

    def predict(state: L2RState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: L2RState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        return relabel.correct(state.table, rows, targets, predict(state, inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        return meta_set.make_planner(train, settings)

    return Method(init, train_step, predict, make_planner, correct)


def normalized(help_given: jax.Array, axis_name: str | None) -> jax.Array:
    """Weights [b] whose mean over the rows of all devices is 1, or that are all 0.

    The mean of weighted losses is then the paper's sum with weights that sum to 1.

    Args:
        help_given: -dV/de_i up to a common positive factor, [b].
        axis_name: pmap axis.
    """
    positive = jnp.maximum(help_given, 0.0)
    average = lookahead.mean(jnp.mean(positive), axis_name)
    return positive / jnp.where(average > 0, average, 1.0)
