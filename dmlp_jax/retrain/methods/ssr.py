"""Implements SSR and SSR+, sample selection and relabelling (Feng, Tzimiropoulos and Patras, BMVC 2022).

Before every epoch a row gets the network's class where the network is sure of it, and its given label
anywhere else. Then the nearest neighbours of each row vote, among them the row itself. Rows whose label wins
the vote are selected. The network learns the selected rows by mixup of strong views, with as many rows of
every class; SSR+ also brings the strong view of every row near the weak view of it.

The authors' code is followed: relabelling starts from the given labels each time, features and probabilities
are those of weak views in evaluation mode, and mixed, weak and strong views go through the network in three
passes, each with its own batch statistics. There are some differences. Nothing is relabelled before the first
epoch. Where no label wins its vote, the rows that come nearest to winning are selected, so that there is a
batch. The weak views' prediction is left out, as it enters no loss. And labels that are distributions stay so
until they are replaced.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.images import lazy
from dmlp_jax.errors import UserError
from dmlp_jax.models.registry import Projector
from dmlp_jax.retrain import neighbours
from dmlp_jax.retrain.method import Method, Task, TrainingSet, by_noise, register
from dmlp_jax.retrain.methods import division, losses, mixing
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Head, Network
from dmlp_jax.training import inference, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class SSRState(NamedTuple):
    """State of SSR.

    Attributes:
        network: the training state.
        targets: labels of all rows in this epoch [n, c].
        threshold: theta_r, the probability above which a row gets the network's class; scalar.
    """

    network: TrainState
    targets: jax.Array | np.ndarray
    threshold: jax.Array | np.ndarray


@register("ssr")
def make_ssr(settings: ConfigDict, task: Task) -> Method:
    """SSR with `neighbours`, `relabel_above`, `select_above` and others; see recipes."""
    return _make(settings, task, consistent=False)


@register("ssr_plus")
def make_ssr_plus(settings: ConfigDict, task: Task) -> Method:
    """SSR+: as SSR, with `consistency`."""
    return _make(settings, task, consistent=True)


def _make(settings: ConfigDict, task: Task, *, consistent: bool) -> Method:
    _check(settings)
    heads = _heads(settings) if consistent else None
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)), heads)
    weak = augment.make(settings.augment, crop_size=settings.crop_size)
    # Features have no views.
    name = "none" if settings.augment == "none" else settings.strong_augment
    strong = augment.make(name, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> SSRState:
        threshold = by_noise(f"{_of(settings)}.relabel_above", settings.relabel_above, train.noise_rate)
        if not 0 <= threshold <= 1:
            raise UserError(
                f"{_of(settings)}.relabel_above is {threshold}; this probability must lie in [0, 1]"
            )
        rows = min(settings.epoch_rows or len(train.inputs), len(train.inputs))
        if rows < settings.batch_size:
            raise UserError(
                f"retrain.batch_size is {settings.batch_size} with {rows} rows to train on in an epoch; "
                f"choose at most {rows}"
            )
        return SSRState(network.init(key, train.inputs), jnp.asarray(train.targets), jnp.float32(threshold))

    def train_step(state: SSRState, batch: Batch, *, axis_name: str | None) -> tuple[SSRState, dict]:
        mix_key, *drop_keys = jax.random.split(batch.key, 4)
        keys = jax.vmap(lambda key: jax.random.split(key, 4))(batch.keys)
        images, others = (augment.to_float(batch.data[part]["inputs"]) for part in ("labelled", "all"))
        targets, before = state.targets[batch.rows["labelled"]], state.network
        mix = mixing.draw(mix_key, 2, len(images), settings.mixup, axis_name)
        views = jnp.stack([strong(keys[:, 0], images), strong(keys[:, 1], images)])
        mixed = mixing.apply(mix, views, axis_name).reshape(-1, *images.shape[1:])
        goals = mixing.apply(mix, jnp.stack([targets, targets]), axis_name).reshape(len(mixed), -1)
        pair = weak(keys[:, 2], others), strong(keys[:, 3], others)

        def loss_fn(params):
            logits, stats = network.train_logits(params, before.batch_stats, mixed, drop_keys[0], axis_name)
            fit = jnp.mean(losses.cross_entropy(logits, goals))
            features = []
            for view, key in zip(pair, drop_keys[1:], strict=True):
                _, found, stats = network.train_outputs(params, stats, view, key, axis_name)
                features.append(found)
            if not consistent:
                return fit, (logits, stats, {})
            goal, stats = network.head(params, stats, "projector", features[0], axis_name)
            found, stats = network.head(params, stats, "projector", features[1], axis_name)
            found, stats = network.head(params, stats, "predictor", found, axis_name)
            apart = jnp.mean(negative_cosine(found, jax.lax.stop_gradient(goal)))
            return fit + settings.consistency * apart, (logits, stats, {"consistency": apart})

        (loss, (logits, stats, more)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, goals), **more, **batch.info}
        return state._replace(network=after), metrics

    def predict(state: SSRState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: SSRState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        del rows
        return relabelled(predict(state, inputs), targets, state.threshold)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        classes, size = np.argmax(train.targets, axis=1), settings.batch_size

        def look(state_and_key, inputs, numbers):
            state, key = state_and_key
            keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.wrap_key_data(key), numbers)
            logits, features = network.outputs(state, weak(keys, augment.to_float(inputs)))
            return jnp.concatenate([features, jax.nn.softmax(logits)], axis=1)

        def over(chosen):
            return inference.over_rows(look, (lazy.take(train.inputs, chosen), np.int32(chosen)), devices)

        @cache
        def voter(rows: int):
            return neighbours.voter(rows, settings.neighbours, devices, own=True)

        everything = None if settings.epoch_rows else over(np.arange(len(classes)))

        def plan(state: SSRState, epoch: int, key: jax.Array) -> tuple[SSRState, Plan]:
            draw_key, view_key, all_key, order_key = jax.random.split(key, 4)
            chosen = division.balanced(classes, settings.epoch_rows, draw_key)
            evaluate = everything or over(chosen)
            found = evaluate((state.network, np.asarray(jax.random.key_data(view_key))))
            features, probs = np.split(found, [found.shape[1] - task.num_classes], axis=1)
            targets = np.array(state.targets)
            given = train.targets[chosen]
            # A network that has learned nothing yet may still be sure, of features more than of images.
            threshold = state.threshold if epoch else np.inf
            targets[chosen] = labels = np.asarray(relabelled(probs, given, threshold))
            won = shares_won(voter(len(chosen))(features, labels), labels, settings.balance_vote)
            selected = won >= min(settings.select_above, won.max())
            steps = len(chosen) // size
            own = np.argmax(labels[selected], axis=1)
            indices = {
                "all": division.batches(chosen, steps, size, all_key),
                "labelled": division.even_batches(chosen[selected], own, steps, size, order_key),
            }
            changed = np.argmax(labels, axis=1) != classes[chosen]
            shares = {"selected": np.mean(selected), "relabelled": np.mean(changed)}
            info = {name: np.full(steps, share, np.float32) for name, share in shares.items()}
            return state._replace(targets=targets), Plan(indices, info)

        return plan

    return Method(init, train_step, predict, make_planner, correct)


def relabelled(
    probs: jax.Array | np.ndarray, targets: jax.Array | np.ndarray, threshold: ArrayLike
) -> jax.Array:
    """The network's class where its probability is above `threshold`, else the given label; [b, c].

    Args:
        probs: the network's probabilities [b, c].
        targets: given labels [b, c].
        threshold: theta_r, scalar.
    """
    classes = jax.nn.one_hot(jnp.argmax(probs, axis=-1), probs.shape[-1])
    return jnp.where((jnp.max(probs, axis=-1) > threshold)[:, None], classes, targets)


def shares_won(shares: np.ndarray, targets: np.ndarray, balance: bool) -> np.ndarray:
    """Share of the vote that each row's label gets, over the largest share of a class; [n], 1 for the winner.

    Rows whose classes are all alike are unlabelled, and get 0.

    Args:
        shares: shares of the classes in each row's vote [n, c].
        targets: labels of the rows [n, c].
        balance: whether a class's share is divided by its share of the labels.
    """
    if balance:
        shares = shares / np.maximum(np.mean(targets, axis=0), 1e-10)
    won = shares[np.arange(len(shares)), np.argmax(targets, axis=1)] / np.max(shares, axis=1)
    return np.where(np.ptp(targets, axis=1) > 0, won, 0.0)


def negative_cosine(rows: jax.Array, goals: jax.Array) -> jax.Array:
    """-<r, g> / (|r| |g|) of rows [b, d] and goals [b, d], [b]."""
    lengths = jnp.linalg.norm(rows, axis=-1) * jnp.linalg.norm(goals, axis=-1)
    return -jnp.sum(rows * goals, axis=-1) / jnp.maximum(lengths, 1e-8)


def _heads(settings: ConfigDict) -> dict[str, Head]:
    head = Projector(2, settings.head_width, settings.head_dim, bias=True)
    return {"projector": Head(head), "predictor": Head(head, inputs="projector")}


def _check(settings: ConfigDict) -> None:
    if settings.neighbours < 1:
        raise UserError(f"{_of(settings)}.neighbours is {settings.neighbours}; it must be at least 1")
    if not 0 < settings.select_above <= 1:
        raise UserError(
            f"{_of(settings)}.select_above is {settings.select_above}; it must lie in (0, 1], where 1 "
            "selects rows whose label wins the vote"
        )
    if settings.mixup <= 0:
        raise UserError(f"{_of(settings)}.mixup is {settings.mixup}; it must be above 0")


def _of(settings: ConfigDict) -> str:
    return f"recipes.{settings.method}"
