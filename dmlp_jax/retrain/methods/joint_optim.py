"""Implements Joint-Optim, the joint optimisation framework (Tanaka et al., CVPR 2018).

After a warm-up on the given labels, each row's label becomes, before every epoch, the mean of what the
network predicted for it while it was trained over the last epochs. The learning rate is high and constant, so
that the network does not memorise labels. Two penalties keep it from predicting one class for all rows, or
all classes for each row.

This is the first of two steps. The second, a new network on the final labels, is another method on
`corrected_joint_optim`, such as `naive`. As in the authors' code predictions are those in training mode,
before the step's update. Epochs of which a row has no prediction, as incomplete batches are dropped, do not
count.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import dispatch, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class JointOptimState(NamedTuple):
    """State of Joint-Optim.

    Attributes:
        network: the training state.
        labels: labels of all rows in this epoch [n, c].
        predictions: those of the last epochs, [epochs * n, c]; zeros where there are none.
        done: number of finished epochs, or begun ones during an epoch; scalar.
    """

    network: TrainState
    labels: Any
    predictions: Any
    done: Any


@register("joint_optim")
def make_joint_optim(settings: ConfigDict, task: Task) -> Method:
    """Joint-Optim with `correct_start`, `label_memory`, `class_prior` and `entropy`; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: no epoch's predictions are kept, or labels would be corrected outside the training.
    """
    memory = settings.label_memory
    if memory < 1:
        raise UserError(f"recipes.joint_optim.label_memory is {memory}; it must be at least 1 epoch")
    if not 0 < settings.correct_start <= 1:
        raise UserError(
            f"recipes.joint_optim.correct_start is {settings.correct_start}; this share of the epochs must "
            "lie in (0, 1]"
        )
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)
    start = max(1, round(settings.correct_start * settings.epochs))

    def init(key: jax.Array, train: TrainingSet) -> JointOptimState:
        empty = jnp.zeros((memory * len(train.targets), train.targets.shape[1]), jnp.float32)
        return JointOptimState(
            network.init(key, train.inputs), jnp.asarray(train.targets), empty, jnp.int32(0)
        )

    def train_step(
        state: JointOptimState, batch: Batch, *, axis_name: str | None
    ) -> tuple[JointOptimState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["inputs"]))
        labels, before = state.labels[batch.rows], state.network

        def loss_fn(params):
            logits, stats = network.train_logits(params, before.batch_stats, inputs, batch.key, axis_name)
            loss = jnp.mean(losses.cross_entropy(logits, labels))
            loss += settings.class_prior * losses.uneven_classes(logits, axis_name)
            loss -= settings.entropy * jnp.mean(losses.negative_entropy(logits))
            return loss, (logits, stats)

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        epoch = batch.epoch.astype(jnp.int32)
        places = (epoch % memory) * len(state.labels) + batch.rows
        predictions = mixing.put_rows(state.predictions, places, jax.nn.softmax(logits), axis_name)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, labels)}
        return JointOptimState(after, state.labels, predictions, epoch + 1), metrics

    def predict(state: JointOptimState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: JointOptimState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        del inputs
        every = state.predictions.reshape(memory, -1, targets.shape[1])[:, rows]
        return jnp.where(state.done >= start, mean_prediction(every, targets), targets)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        del devices

        def plan(state: JointOptimState, epoch: int, key: jax.Array) -> tuple[JointOptimState, Plan]:
            if epoch >= start:
                every = np.reshape(state.predictions, (memory, *train.targets.shape))
                state = state._replace(labels=np.asarray(mean_prediction(every, train.targets)))
            return state, dispatch.shuffled(len(train.targets), settings.batch_size, key)

        return plan

    return Method(init, train_step, predict, make_planner, correct)


def mean_prediction(predictions: jax.Array | np.ndarray, targets: jax.Array | np.ndarray) -> jax.Array:
    """Mean of the predictions that are not zeros; the given labels of rows without one; [n, c].

    Args:
        predictions: [epochs, n, c].
        targets: given labels [n, c].
    """
    total = jnp.sum(predictions, axis=0)
    mass = jnp.sum(total, axis=-1, keepdims=True)
    return jnp.where(mass > 0.5, total / jnp.maximum(mass, 0.5), targets)
