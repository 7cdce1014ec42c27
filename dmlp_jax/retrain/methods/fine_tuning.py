"""Fine-tunes a network with a projection on selected rows: the second stage of MOIT+ and Sel-CL+."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.augment import Policy
from dmlp_jax.data.images.lazy import Images
from dmlp_jax.errors import UserError
from dmlp_jax.models.registry import Projector
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods import division, losses, mixing, plain
from dmlp_jax.retrain.network import Head, Network
from dmlp_jax.training import inference, learning_rates
from dmlp_jax.training.contrast import unit_rows
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.state import TrainState, make_optimizer


def make_network(settings: ConfigDict, task: Task) -> Network:
    """The network with a linear projection of `projection_width` on its features, the head 'projection'."""
    projector = Projector(1, 0, settings.projection_width, bias=True)
    optimizer = make_optimizer(settings, learning_rates.make(settings))
    return Network(settings, task, optimizer, {"projection": Head(projector)})


def make_policies(settings: ConfigDict) -> tuple[Policy, Policy]:
    """The weak policy of the fine-tuning, `augment`, and that of before, `strong_augment` or the same.

    Random crops of 'simclr' have at least .08 of the area, as torchvision's have.
    """
    weak = augment.make(settings.augment, crop_size=settings.crop_size)
    if not settings.strong_augment:
        return weak, weak
    return weak, augment.make(settings.strong_augment, crop_size=settings.crop_size, crop_min_area=0.08)


def projected(
    network: Network, params: Any, stats: Any, inputs: jax.Array, key: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, Any]:
    """Logits [b, c], unit projections [b, d] and running statistics, in training mode."""
    logits, features, stats = network.train_outputs(params, stats, inputs, key, axis_name)
    rows, stats = network.head(params, stats, "projection", features, axis_name)
    return logits, unit_rows(rows), stats


def unaugmented(
    network: Network, state: TrainState, stats: Any, inputs: jax.Array, key: jax.Array, axis_name: str | None
) -> tuple[jax.Array, Any]:
    """Logits [b, c], in training mode, of inputs without augmentation, and running statistics."""
    centred = augment.centre(inputs, network.settings.crop_size)
    return network.train_logits(state.params, stats, centred, key, axis_name)


def make_embed(network: Network, inputs: Images, devices: list[jax.Device]) -> Callable[[Any], np.ndarray]:
    """Makes the function from a training state to the unit projections [n, d] of all inputs."""

    def embedded(state, rows):
        _, features = network.outputs(state, rows)
        found, _ = network.head(state.params, state.batch_stats, "projection", features, None, train=False)
        return unit_rows(found)

    return inference.over_rows(embedded, (inputs,), devices)


def step(
    network: Network, weak: Policy, before: TrainState, batch: Batch, axis_name: str | None
) -> tuple[TrainState, dict]:
    """A step with mixup on the rows 'selected' and, where the plan has `bootstraps`, hard bootstrapping.

    Targets are then (1 - s) y + s h with h the most probable class of the row without augmentation, in
    training mode, and s the setting `bootstrap_share`.

    Args:
        network: see `make_network`.
        weak: policy of the views.
        before: state of the network.
        batch: the batch, labels y [b, c] being its targets.
        axis_name: pmap axis.
    """
    settings, (mix_key, *keys) = network.settings, jax.random.split(batch.key, 3)
    inputs, targets = augment.to_float(batch.data["selected"]["inputs"]), batch.data["selected"]["targets"]
    mix = mixing.draw(mix_key, 1, len(targets), settings.mixup, axis_name)
    mixed = mixing.apply(mix, weak(batch.keys, inputs)[None], axis_name)[0]

    def loss_fn(params):
        logits, stats = network.train_logits(params, before.batch_stats, mixed, keys[0], axis_name)
        own, stats = unaugmented(network, before, stats, inputs, keys[1], axis_name)
        hard = jax.nn.one_hot(jnp.argmax(own, axis=1), own.shape[1])
        share = settings.bootstrap_share * batch.info["bootstraps"]
        goals = mixing.apply(mix, ((1.0 - share) * targets + share * hard)[None], axis_name)[0]
        return jnp.mean(losses.cross_entropy(logits, goals)), (own, stats)

    (loss, (own, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
    after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
    return after, {"loss": loss, "train_accuracy": plain.agreement(own, targets)}


def plan(selected: np.ndarray | jax.Array, size: int, bootstraps: bool, key: jax.Array) -> Plan:
    """An epoch over the rows that are selected [n], in batches of `size`; at least one."""
    chosen = np.flatnonzero(np.asarray(selected) > 0)
    steps = max(1, len(chosen) // size)
    order = division.batches(chosen, steps, size, key)
    return Plan({"selected": order}, repeated({"bootstraps": bootstraps}, steps))


def with_new_classifier(network: Network, state: TrainState, key: jax.Array) -> TrainState:
    """The unreplicated state with a fresh classifier and a fresh optimiser; `key` is a typed PRNG key."""
    kernel = np.asarray(state.params["head"]["kernel"])
    fresh = {
        "kernel": np.asarray(jax.nn.initializers.lecun_normal()(key, kernel.shape, kernel.dtype)),
        "bias": np.zeros_like(state.params["head"]["bias"]),
    }
    params = {**state.params, "head": fresh}
    return state._replace(params=params, opt_state=jax.tree.map(np.asarray, network.optimizer.init(params)))


def repeated(info: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
    """The same entries for every step of an epoch, float32 [steps]."""
    return {name: np.full(steps, value, np.float32) for name, value in info.items()}


def check(settings: ConfigDict, shares: tuple[str, ...], positive: tuple[str, ...]) -> None:
    """Raises a UserError unless the first settings lie in [0, 1] and the others are above 0."""
    for name in shares:
        if not 0 <= settings[name] <= 1:
            raise UserError(f"recipes.{settings.method}.{name} is {settings[name]}; it must lie in [0, 1]")
    for name in positive:
        if settings[name] <= 0:
            raise UserError(f"recipes.{settings.method}.{name} is {settings[name]}; it must be above 0")


def memory_rows(settings: ConfigDict, classes: int) -> int:
    """Number of projections in the memory, two for each of `memory_per_class` rows of every class.

    Raises:
        UserError: they are fewer than the two views of a batch.
    """
    rows, views = 2 * settings.memory_per_class * classes, 2 * settings.batch_size
    if rows < views:
        raise UserError(
            f"recipes.{settings.method}.memory_per_class is {settings.memory_per_class}, so the memory holds "
            f"{rows} projections, but a batch has {views}; set at least {-(-settings.batch_size // classes)}"
        )
    return rows
