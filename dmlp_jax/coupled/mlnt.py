"""Implements MLNT (Li et al., "Learning to learn from noisy labeled data", CVPR 2019); needs no clean rows.

First a network is trained by cross-entropy: the guide, whose features say which rows of a batch are alike.
Then a second one starts anew. Each step draws M sets of labels, in which `perturbed_share` of the batch's
rows take the label of one of their `neighbours` nearest rows. With w_m = w - alpha grad CE(labels of set m),
the step minimises CE(given labels) + weight 1/M sum_m KL(teacher || prediction at w_m). The teacher is a
weight average, also what predicts. It starts as a copy of the network at `lookahead_start`, when the weight
begins to rise as exp(-5 (1 - u)^2).

The authors' code is followed (github.com/LiJunnan1992/MLNT), which is for Clothing1M. It runs one iteration,
whereas the paper filters the rows with the first teacher and trains again. It means to leave out the second
derivatives in the gradient of w_m but does not; `second_order=False` leaves them out. Its KL divergence is a
mean over classes, here a sum; the recipes divide its weight by their number. Running statistics are those of
the step's first pass alone. Its predictions come from student or teacher, whichever is better on clean rows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from dmlp_jax.coupled import lookahead
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods.average import Average, averaged
from dmlp_jax.retrain.methods.elr_plus import ramp
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import dispatch, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.learning_rates import Schedule
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class MLNTState(NamedTuple):
    """State of the three networks.

    Attributes:
        guide: the network that is trained by cross-entropy alone.
        network: the network that is trained after it.
        teacher: average of the network; before it starts, the network in training itself.
        steps: number of steps with a teacher, int32 scalar.
    """

    guide: TrainState
    network: TrainState
    teacher: Average
    steps: jax.Array


@register("mlnt")
def make_mlnt(settings: ConfigDict, task: Task) -> Method:
    """MLNT; its constants are in `recipes_lookahead`.

    Raises:
        UserError: too few epochs or rows, or constants out of range.
    """
    _check(settings)
    first = guide_epochs(settings)
    length = settings.epochs - first
    rates = by_phase(settings)
    guide, network = (Network(settings, task, make_optimizer(settings, rate)) for rate in rates)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MLNTState:
        one, other = (network.init(k, train.inputs) for k in jax.random.split(key))
        return MLNTState(one, other, Average(one.params, one.batch_stats), jnp.zeros((), jnp.int32))

    def train_step(state: MLNTState, batch: Batch, *, axis_name: str | None) -> tuple[MLNTState, dict]:
        ((part, rows),) = batch.data.items()
        inputs, targets = policy(batch.keys, augment.to_float(rows["inputs"])), rows["targets"]
        key, teacher_key, label_key = jax.random.split(batch.key, 3)
        before = state.guide if part == "guide" else state.network
        done = TrainingPass(network, before, inputs, key, axis_name)
        loss, grads = done.gradient(targets)
        metrics = {"loss": loss, "train_accuracy": agreement(done.logits, targets)}
        if part == "guide":
            after = guide.step(before, grads, done.batch_stats, None, epoch=batch.epoch)
            teacher = Average(after.params, after.batch_stats)
            return state._replace(guide=after, teacher=teacher), metrics

        passed = (batch.epoch - first) / length - settings.lookahead_start
        rise = settings.lookahead_ramp - settings.lookahead_start
        begun = passed >= 0
        keep = jnp.where(passed < rise, settings.ema_first, settings.ema)
        keep = jnp.where(state.steps > 0, keep, 0.0)
        own = Average(before.params, before.batch_stats)
        params = averaged(state.teacher.params, own.params, keep)
        stats = jax.tree.map(
            lambda old, new: jnp.where(state.steps > 0, old, new), state.teacher.batch_stats, own.batch_stats
        )
        logits, stats = network.train_logits(params, stats, inputs, teacher_key, axis_name)
        target = jax.nn.softmax(logits)

        _, features = network.outputs(state.guide, inputs)
        labels = label_sets(
            label_key, features, targets, settings.label_sets, settings.neighbours,
            settings.perturbed_share, axis_name,
        )  # fmt: skip

        def look(total, labels):
            _, slopes = done.gradient(labels)
            moved = lookahead.descend(before.params, settings.lookahead_lr, slopes)
            ahead = TrainingPass(network, before._replace(params=moved), inputs, key, axis_name)
            apart, judged = ahead.gradient_of(
                lambda logits: jnp.mean(optax.kl_divergence(jax.nn.log_softmax(logits), target))
            )
            if settings.second_order:
                product = done.hessian_product(labels, judged)
                judged = lookahead.descend(judged, settings.lookahead_lr, product)
            return optax.tree.add(total, judged), apart

        judged, apart = jax.lax.scan(look, jax.tree.map(jnp.zeros_like, grads), labels)
        weight = settings.consistency_weight * jnp.where(begun, ramp(passed, rise), 0.0)
        grads = lookahead.descend(grads, -weight / settings.label_sets, judged)
        after = network.step(before, grads, done.batch_stats, None, epoch=batch.epoch)
        metrics["disagreement"] = jnp.mean(apart)
        return MLNTState(state.guide, after, Average(params, stats), state.steps + begun), metrics

    def predict(state: MLNTState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network._replace(**state.teacher._asdict()), inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        def plan(state: MLNTState, epoch: int, key: jax.Array) -> tuple[Any, Plan]:
            plan = dispatch.shuffled(len(train.targets), settings.batch_size, key)
            return state, Plan({"guide" if epoch < first else "train": plan.indices})

        return plan

    return Method(init, train_step, predict, make_planner, alike_from=first)


def _check(settings: ConfigDict) -> None:
    if settings.epochs < 2:
        raise UserError(
            f"retrain.epochs is {settings.epochs}; mlnt trains two networks, so choose at least 2"
        )
    if not 1 <= settings.neighbours < settings.batch_size:
        raise UserError(
            f"recipes.mlnt.neighbours is {settings.neighbours} and retrain.batch_size {settings.batch_size}; "
            "the neighbours are rows of the batch, so choose between 1 and one less than its rows"
        )
    if not 0 <= settings.lookahead_start < settings.lookahead_ramp <= 1:
        raise UserError(
            f"recipes.mlnt.lookahead_start is {settings.lookahead_start} and recipes.mlnt.lookahead_ramp "
            f"{settings.lookahead_ramp}; these shares of the second network's epochs must rise, within [0, 1]"
        )


def guide_epochs(settings: ConfigDict) -> int:
    """Number of epochs that the first network is trained for: `guide_share` of all, but at least one each."""
    return int(np.clip(round(settings.guide_share * settings.epochs), 1, settings.epochs - 1))


def by_phase(settings: ConfigDict) -> tuple[Schedule, Schedule]:
    """Learning rates of both networks, as functions of the epochs of the whole run.

    Each has the settings' schedule over its own epochs. `lr_drops` are shares of all epochs; those before the
    second network starts belong to the first.
    """
    first = guide_epochs(settings)
    share = first / settings.epochs
    one, other = settings.copy_and_resolve_references(), settings.copy_and_resolve_references()
    one.epochs, other.epochs = first, settings.epochs - first
    one.lr_drops = tuple(drop / share for drop in settings.lr_drops if drop < share)
    other.lr_drops = tuple((drop - share) / (1 - share) for drop in settings.lr_drops if drop > share)
    later = learning_rates.make(other)
    return learning_rates.make(one), lambda epoch: later(epoch - first)


def label_sets(
    key: jax.Array,
    features: jax.Array,
    targets: jax.Array,
    sets: int,
    neighbours: int,
    share: float,
    axis_name: str | None,
) -> jax.Array:
    """Sets of labels [sets, b, c] in which a share of the rows of all devices has a neighbour's label.

    Args:
        key: typed PRNG key, the same on all devices.
        features: [b, d], whose Euclidean distances say which rows are nearest.
        targets: given labels [b, c].
        sets: number of sets.
        neighbours: number of nearest rows of the batch, without the row itself, of which one is drawn.
        share: share of the rows, rounded down, drawn anew for each set.
        axis_name: pmap axis.
    """
    size, place = len(targets), jnp.int32(0)
    if axis_name is not None:
        features, targets = jax.lax.all_gather((features, targets), axis_name, tiled=True)
        place = jax.lax.axis_index(axis_name) * size
    rows = len(targets)
    squares = jnp.sum(features**2, axis=1)
    distances = squares[:, None] + squares - 2.0 * features @ features.T
    _, near = jax.lax.top_k(-jnp.where(jnp.eye(rows, dtype=bool), jnp.inf, distances), neighbours)

    def draw(key):
        order_key, choice_key = jax.random.split(key)
        changed = jax.random.permutation(order_key, rows) < int(share * rows)
        choice = jax.random.randint(choice_key, (rows, 1), 0, neighbours)
        other = targets[jnp.take_along_axis(near, choice, axis=1)[:, 0]]
        return jnp.where(changed[:, None], other, targets)

    labels = jax.vmap(draw)(jax.random.split(key, sets))
    return jax.lax.dynamic_slice_in_dim(labels, place, size, axis=1)
