"""Implements MSLG (Algan and Ulusoy, "Meta soft label generation for noisy labels", ICPR 2020).

Every noisy row has a label d = softmax(t), whose logits t [c] are K times the given label at first. After
epochs of plain cross-entropy a step of the network minimises

    L(w, d) = mean over rows and classes of p (log p - log d),

plus gamma times the mean of -p log p, with p = softmax of the network. Before that step, the labels take one
of their own, t <- t - beta dV/dt, where V is the cross-entropy of clean rows at w' = w - alpha grad L(w, d),
in training mode. As L is linear in log d, dV/dlog d comes from one forward-mode pass of the probabilities;
see `lookahead`.

The authors' code is followed (github.com/gorkemalgan/MSLG_noisy_label), with its log(d + 1e-10). Unlike
there, rows are shuffled, running statistics are those of the noisy rows' pass alone, and the epoch is chosen
on clean rows that give no gradient. Its substitute for a clean set, noisy rows of least loss, is left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.coupled import lookahead, meta_set
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class MSLGState(NamedTuple):
    """Attributes: `network`; `table`, the logits t of the noisy rows' labels [n, c]."""

    network: TrainState
    table: jax.Array


@register("mslg")
def make_mslg(settings: ConfigDict, task: Task) -> Method:
    """MSLG with `correct_start`, `lookahead_lr`, `label_lr`, `label_scale` and `entropy_weight`."""
    meta_set.check(settings)
    if settings.label_scale <= 0:
        raise UserError(
            f"recipes.mslg.label_scale is {settings.label_scale}; it must be above 0, such as 10, or the "
            "given labels are lost"
        )
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MSLGState:
        noisy = meta_set.noisy_rows(train, settings)
        table = settings.label_scale * jnp.asarray(train.targets[:noisy], jnp.float32)
        return MSLGState(network.init(key, train.inputs), table)

    def train_step(state: MSLGState, batch: Batch, *, axis_name: str | None) -> tuple[MSLGState, dict]:
        rows, index = meta_set.views(policy, batch), batch.rows["train"]
        train_key, meta_key = jax.random.split(batch.key)
        done = TrainingPass(network, state.network, rows["train"].inputs, train_key, axis_name)
        targets, table, metrics = rows["train"].targets, state.table, {}
        if "meta" in rows:
            labels = table[index]
            metrics["meta_loss"], slopes = label_gradient(
                done, state.network.params, labels, settings.lookahead_lr, rows["meta"], meta_key, axis_name
            )
            labels = labels - settings.label_lr * slopes
            table = mixing.put_rows(table, index, labels, axis_name)
            loss, grads = done.gradient_of(
                lambda logits: (
                    divergence(logits, labels)
                    - settings.entropy_weight * jnp.mean(losses.negative_entropy(logits)) / task.num_classes
                )
            )
        else:
            loss, grads = done.gradient(targets)
        after = network.step(state.network, grads, done.batch_stats, None, epoch=batch.epoch)
        metrics |= {"loss": loss, "train_accuracy": agreement(done.logits, targets)}
        return MSLGState(after, table), metrics

    def predict(state: MSLGState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: MSLGState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        return jax.nn.softmax(state.table[rows])

    first = round(settings.correct_start * settings.epochs)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        return meta_set.make_planner(train, settings, first)

    return Method(init, train_step, predict, make_planner, correct, alike_from=first)


def divergence(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """L, the mean over rows and classes of p (log p - log d), scalar.

    Args:
        logits: of the network [b, c].
        labels: logits t of the labels d [b, c].
    """
    return jnp.mean(jax.nn.softmax(logits) * (jax.nn.log_softmax(logits) - log_labels(labels)))


def log_labels(labels: jax.Array) -> jax.Array:
    """log(d + 1e-10) of label logits [b, c]: a class that a label rules out costs 23 at most."""
    return jnp.log(jax.nn.softmax(labels) + 1e-10)


def label_gradient(
    done: TrainingPass,
    params: dict,
    labels: jax.Array,
    rate: float,
    clean: meta_set.Rows,
    key: jax.Array,
    axis_name: str | None,
) -> tuple[jax.Array, jax.Array]:
    """The clean rows' loss V after a look-ahead step, and dV/dt [b, c], of the mean over all devices' rows.

    Args:
        done: pass of the noisy rows.
        params: w.
        labels: t, [b, c].
        rate: alpha, the length of the look-ahead step of plain gradient descent.
        clean: the clean rows.
        key: key of dropout for the clean rows.
        axis_name: pmap axis.
    """
    _, grads = done.gradient_of(lambda logits: divergence(logits, labels))
    loss, judged = done.clean_gradient(lookahead.descend(params, rate, grads), clean, key)
    slopes = done.target_slopes(lookahead.scaled(-rate, judged), jax.nn.softmax) / labels.shape[1]
    devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    _, pull = jax.vjp(log_labels, labels)
    return loss, pull(slopes / devices)[0]
