"""Implements RRL (Li et al., ICCV 2021): robust representations that let neighbours correct the labels.

Features are projected to embeddings of unit length. Three losses shape these beside cross-entropy: a row's
two views attract each other (instance contrast), mixed rows are attracted by the prototypes of their classes
(prototype contrast), and features can be restored from the embedding. After some epochs on the given labels
each row has a soft label, the mean of its prediction and of its neighbours' soft labels. Where that still
gives the label some probability, the label is kept. Rows with a sure soft label learn its class and make the
prototypes, the others take part in the losses without labels only.

Where the authors' code is more specific than the paper it is followed. It starts with about a hundred steps
of cross-entropy and restoring, which are the first epoch here. There are three differences. A class without
sure rows keeps its prototype, where the code's becomes NaN. Batch statistics of mixed rows are those of the
whole batch, in which rows without a sure label are not mixed. And mixing shares are at least one half, which
makes the same batches.

Features instead of images have one view only; instance contrast then keeps rows apart.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.images import lazy
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import neighbours
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import division, losses, mixing, soft_labels
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Head, Network
from dmlp_jax.training import inference, learning_rates
from dmlp_jax.training.contrast import gathered, own_places, similarity, supervised, unit_rows
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class RRLState(NamedTuple):
    """State of RRL.

    Attributes:
        network: the training state.
        soft: soft labels of all rows [n, c]; the targets until they are corrected.
        prototypes: unit rows [c, d], zeros for a class that had no rows yet.
    """

    network: TrainState
    soft: jax.Array | np.ndarray
    prototypes: jax.Array | np.ndarray


class Embedding(nn.Module):
    """A linear map to the embedding and one back to the features.

    Attributes:
        width: width of the embedding.
        axis_name: not used, as there is no batch norm.
    """

    width: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Embeddings, not normalised, then restored features, [b, width + d], of features [b, d]."""
        del train
        embedded = nn.Dense(self.width, name="project")(features)
        restored = nn.relu(nn.Dense(features.shape[-1], name="restore")(embedded))
        return jnp.concatenate([embedded, restored], axis=-1)


@register("rrl")
def make_rrl(settings: ConfigDict, task: Task) -> Method:
    """RRL with `correct_start`, `neighbours`, `keep_above`, `use_above` and others; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: `correct_start` is not a share, `neighbours` or `temperature` is not positive.
    """
    if not 0 <= settings.correct_start <= 1:
        raise UserError(f"recipes.rrl.correct_start is {settings.correct_start}; it must lie in [0, 1]")
    for name in ("neighbours", "temperature", "embedding_width"):
        if settings[name] <= 0:
            raise UserError(f"recipes.rrl.{name} is {settings[name]}; it must be above 0")
    heads = {"embedding": Head(Embedding(settings.embedding_width))}
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)), heads)
    first = augment.make(settings.augment, crop_size=settings.crop_size)
    second = first
    if settings.second_augment:
        second = augment.make(settings.second_augment, crop_size=settings.crop_size)
    width, temperature = settings.embedding_width, settings.temperature
    start = 1 if settings.start_steps else 0
    correct_start = max(start, round(settings.correct_start * settings.epochs))

    def init(key: jax.Array, train: TrainingSet) -> RRLState:
        classes = train.targets.shape[1]
        return RRLState(
            network.init(key, train.inputs),
            jnp.asarray(train.targets, jnp.float32),
            jnp.zeros((classes, width), jnp.float32),
        )

    def passed(params, stats, inputs, key, axis_name):
        """Logits, unit embeddings, errors [b] of the restored features, running statistics."""
        logits, features, stats = network.train_outputs(params, stats, inputs, key, axis_name)
        outputs, stats = network.head(params, stats, "embedding", features, axis_name)
        errors = jnp.mean((outputs[:, width:] - features) ** 2, axis=1)
        return logits, unit_rows(outputs[:, :width]), errors, stats

    def train_step(state: RRLState, batch: Batch, *, axis_name: str | None) -> tuple[RRLState, dict]:
        ((part, data),) = batch.data.items()
        before, (*keys, mix_key) = state.network, jax.random.split(batch.key, 4)
        inputs, targets = augment.to_float(data["inputs"]), data["targets"]
        view_keys = jax.vmap(jax.random.split)(batch.keys)
        weak, other = first(view_keys[:, 0], inputs), second(view_keys[:, 1], inputs)

        def start_loss(params):
            logits, _, errors, stats = passed(params, before.batch_stats, weak, keys[0], axis_name)
            loss = jnp.mean(losses.cross_entropy(logits, targets)) + settings.restore_weight * jnp.mean(
                errors
            )
            return loss, (logits, stats, {})

        def full_loss(params):
            goals, used = goals_of(state.soft[batch.rows[part]], targets, batch.info["corrects"])
            logits, rows, errors, stats = passed(params, before.batch_stats, weak, keys[0], axis_name)
            _, others, more_errors, stats = passed(params, stats, other, keys[1], axis_name)
            views = jnp.stack([weak, other] if settings.mix_second else [weak])
            both = jnp.broadcast_to(used, (len(views), *used.shape))
            mix = mixing.draw(mix_key, len(views), len(used), settings.mixup, axis_name, among=both > 0)
            mixed = mixing.apply(mix, views, axis_name).reshape(-1, *views.shape[2:])
            mixed_goals = mixing.apply(mix, jnp.broadcast_to(goals, (len(views), *goals.shape)), axis_name)
            _, mixed_rows, _, stats = passed(params, stats, mixed, keys[2], axis_name)
            prototypes = similarity(mixed_rows, jnp.asarray(state.prototypes)) / temperature
            attraction = losses.cross_entropy(prototypes, mixed_goals.reshape(prototypes.shape))
            parts = {
                "fit": losses.weighted_mean(losses.cross_entropy(logits, goals), used, axis_name),
                "prototype": losses.weighted_mean(attraction, both.ravel(), axis_name),
                "instance": jnp.mean(instance_contrast(rows, others, temperature, axis_name)),
                "restore": jnp.mean(errors) + jnp.mean(more_errors),
            }
            loss = (
                parts["fit"]
                + batch.info["prototype_weight"] * parts["prototype"]
                + settings.instance_weight * parts["instance"]
                + settings.restore_weight * parts["restore"]
            )
            return loss, (logits, stats, {**parts, "used": jnp.mean(used)})

        loss_fn = start_loss if part == "start" else full_loss
        (loss, (logits, stats, parts)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, targets), **parts}
        return state._replace(network=after), metrics

    def goals_of(soft: jax.Array, targets: jax.Array, corrects: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What rows learn [b, c], and which of them do so, [b]: all until labels are corrected."""
        hard = jax.nn.one_hot(jnp.argmax(soft, axis=1), soft.shape[1])
        sure = (jnp.max(soft, axis=1) > settings.use_above).astype(jnp.float32)
        return jnp.where(corrects > 0, hard, targets), jnp.where(corrects > 0, sure, 1.0)

    def predict(state: RRLState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: RRLState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        del inputs, targets
        return jnp.asarray(state.soft)[rows]

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        rows, size, classes = len(train.inputs), settings.batch_size, np.argmax(train.targets, axis=1)

        def seen(state, inputs):
            logits, features = network.outputs(state, inputs)
            outputs, _ = network.head(
                state.params, state.batch_stats, "embedding", features, None, train=False
            )
            return jnp.concatenate([unit_rows(outputs[:, :width]), jax.nn.softmax(logits)], axis=1)

        def over(chosen):
            look = inference.over_rows(seen, (lazy.take(train.inputs, chosen),), devices)
            vote = neighbours.voter(len(chosen), settings.neighbours, devices, temperature=temperature)
            return look, vote

        everything = None if settings.epoch_rows else over(np.arange(rows))

        def plan(state: RRLState, epoch: int, key: jax.Array) -> tuple[RRLState, Plan]:
            pick_key, order_key = jax.random.split(key)
            chosen = division.balanced(classes, settings.epoch_rows, pick_key)
            order = division.batches(chosen, len(chosen) // size, size, order_key)
            if epoch < start:
                return state, Plan({"start": order[: settings.start_steps]})
            look, vote = everything or over(chosen)
            embeddings, probs = np.split(look(state.network), [width], axis=1)
            labels, sure, corrects = classes[chosen], np.ones(len(chosen), bool), epoch >= correct_start
            if corrects:
                soft = np.array(state.soft)
                # The rows of an epoch are not those of the last one: their soft labels are old.
                if epoch == correct_start or settings.epoch_rows:
                    soft[chosen] = soft_labels.kept(probs, labels, settings.keep_above)
                voted = (vote(embeddings, soft[chosen]) + probs) / 2
                soft[chosen] = soft_labels.kept(voted, labels, settings.keep_above)
                labels = np.argmax(soft[chosen], axis=1)
                sure = np.max(soft[chosen], axis=1) > settings.use_above
                state = state._replace(soft=soft)
            state = state._replace(
                prototypes=soft_labels.prototypes_of(embeddings, labels, sure, state.prototypes)
            )
            rise = min(1.0, (epoch - start) / max(settings.prototype_ramp * settings.epochs, 1e-9))
            weight = 1.0 + rise * (settings.prototype_weight - 1.0)
            if not settings.prototype_ramp:
                weight = settings.prototype_weight
            info = {"corrects": corrects, "prototype_weight": weight}
            steps = {name: np.full(len(order), value, np.float32) for name, value in info.items()}
            return state, Plan({"all": order}, steps)

        return plan

    return Method(init, train_step, predict, make_planner, correct, alike_from=correct_start)


def instance_contrast(
    rows: jax.Array, others: jax.Array, temperature: float, axis_name: str | None
) -> jax.Array:
    """InfoNCE [b] of rows [b, d] with their second views among all other rows and views of all devices.

    Args:
        rows: unit embeddings [b, d].
        others: of the second views [b, d].
        temperature: T.
        axis_name: pmap axis.
    """
    keys = jnp.concatenate([gathered(rows, axis_name), gathered(others, axis_name)])
    own, every = own_places(len(rows), axis_name), len(keys) // 2
    positives = jax.nn.one_hot(own + every, len(keys))
    return supervised(rows, keys, positives, jax.nn.one_hot(own, len(keys)) == 0, temperature)
