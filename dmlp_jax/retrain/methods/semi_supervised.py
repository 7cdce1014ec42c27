"""Implements what the semi-supervised methods share: clean rows are labelled, all other rows are unlabelled.

A step takes a batch of clean rows and `unlabelled_ratio` times as many unlabelled rows. An epoch is one pass
over the unlabelled rows. The clean rows are repeated as needed, each time shuffled anew.

Predictions are those of an exponential moving average of the weights with decay `ema`. The methods' authors
use it with the network's own running batch statistics, whose decay is .999 as that of the weights. Here the
decay of the running statistics is .9, so they are averaged like the weights, with much the same effect.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Needs, Task, TrainingSet
from dmlp_jax.retrain.methods import division
from dmlp_jax.retrain.methods.average import Average, averaged
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer

NEEDS = Needs(labels=False, images=True)


class SemiSupervisedState(NamedTuple):
    """Attributes: `network`, the training state; `average`, the weight average that predicts."""

    network: TrainState
    average: Average


class Views(NamedTuple):
    """The augmented rows of a step on one device.

    Attributes:
        labelled: weak views of clean rows [b, ...].
        targets: labels of the clean rows [b, c].
        unlabelled: two views of unlabelled rows, each [ratio * b, ...]; see `make`.
    """

    labelled: jax.Array
    targets: jax.Array
    unlabelled: tuple[jax.Array, jax.Array]


# `(params, network, state before, views, batch, axis name) -> (loss, (batch statistics, metrics))`.
Objective = Callable[..., tuple[jax.Array, tuple[Any, dict]]]


def make(settings: ConfigDict, task: Task, objective: Objective, *, strong: bool) -> Method:
    """A method that minimises `objective` and predicts with the weight average.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.
        objective: loss of one step, differentiated with respect to its first argument.
        strong: the second view of unlabelled rows is by `strong_augment`; else both are by `augment`.

    Raises:
        UserError: impossible settings.
    """
    if settings.unlabelled_ratio < 1:
        raise UserError(f"unlabelled_ratio is {settings.unlabelled_ratio}; it must be at least 1")
    if not 0 <= settings.ema < 1:
        raise UserError(f"ema is {settings.ema}; this decay of the average must lie in [0, 1)")
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    weak = augment.make(settings.augment, crop_size=settings.crop_size)
    second = augment.make(settings.strong_augment, crop_size=settings.crop_size) if strong else weak
    parts = [f"unlabelled{part}" for part in range(settings.unlabelled_ratio)]

    def init(key: jax.Array, train: TrainingSet) -> SemiSupervisedState:
        if train.inputs.ndim == 2 or not train.num_clean:
            raise UserError(f"retrain.method {settings.method} needs images, some of them with clean labels")
        rows, step = len(train.inputs) - train.num_clean, settings.batch_size * len(parts)
        if rows < step:
            raise UserError(
                f"retrain.batch_size is {settings.batch_size} and recipes.{settings.method}.unlabelled_ratio "
                f"{len(parts)}, so a step takes {step} rows without labels, but there are {rows}; choose a "
                f"batch_size of at most {rows // len(parts)} or a smaller ratio"
            )
        state = network.init(key, train.inputs)
        return SemiSupervisedState(state, Average(state.params, state.batch_stats))

    def look(batch: Batch) -> Views:
        keys = jax.vmap(lambda key: jax.random.split(key, 1 + 2 * len(parts)))(batch.keys)
        both = jnp.swapaxes(keys[:, 1:], 0, 1).reshape(2, -1)
        rows = jnp.concatenate([augment.to_float(batch.data[part]["inputs"]) for part in parts])
        labelled = batch.data["labelled"]
        return Views(
            weak(keys[:, 0], augment.to_float(labelled["inputs"])),
            labelled["targets"],
            (weak(both[0], rows), second(both[1], rows)),
        )

    def train_step(
        state: SemiSupervisedState, batch: Batch, *, axis_name: str | None
    ) -> tuple[SemiSupervisedState, dict]:
        views, before = look(batch), state.network
        descend = jax.value_and_grad(objective, has_aux=True)
        (loss, (stats, metrics)), grads = descend(before.params, network, state, views, batch, axis_name)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        average = averaged(state.average, Average(after.params, after.batch_stats), settings.ema)
        return SemiSupervisedState(after, average), {"loss": loss, **metrics}

    def predict(state: SemiSupervisedState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network._replace(**state.average._asdict()), inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        del devices
        others, clean = np.split(np.arange(len(train.inputs)), [len(train.inputs) - train.num_clean])
        size = settings.batch_size
        steps = len(others) // (size * len(parts))

        def plan(state: SemiSupervisedState, epoch: int, key: jax.Array) -> tuple[Any, Plan]:
            del epoch
            clean_key, order_key = jax.random.split(key)
            order = division.batches(others, steps, size * len(parts), order_key)
            dealt = np.swapaxes(order.reshape(steps, len(parts), size), 0, 1)
            indices = dict(zip(parts, dealt, strict=True))
            return state, Plan({"labelled": division.batches(clean, steps, size, clean_key), **indices})

        return plan

    return Method(init, train_step, predict, make_planner)


def ramp(done: jax.Array, length: float) -> jax.Array:
    """A factor that rises linearly from 0 to 1 while the share `done` of the training goes to `length`."""
    return jnp.clip(done / max(length, 1e-9), 0.0, 1.0)
