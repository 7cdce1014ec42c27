"""Implements MOIT+ (Ortego et al., CVPR 2021): contrast of mixed rows, then fine-tuning on selected rows.

MOIT trains a classifier and a projection together, on two strong views of each row that are mixed with other
rows. In the interpolated contrastive loss a mixed row is attracted by the rows of its own label and, with the
rest of its mixing share, by those of its partner's label; later also among a memory of recent projections.
Rows whose label agrees with those of their neighbours are selected after each epoch. In the last part of MOIT
the others learn the network's own prediction in place of their label. MOIT+ then makes a new classifier and
fine-tunes the network on the selected rows, with weak views, mixup and, later, hard bootstrapping.

Both are one run here: the learning rate of the fine-tuning is that at which MOIT ends, and its optimiser
starts without momentum. As in the authors' code the projections of a batch are in the memory before it is
compared with, and a row that is not selected gives up its partner's label too. The memory is a ring, where
the code's overwrites its last rows in place of going round.

Features instead of images have one view only; contrast is then between rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.retrain import neighbours
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import agreement, fine_tuning, losses, mixing, plain
from dmlp_jax.retrain.methods.interpolated_contrast import Pairs, interpolated_contrast
from dmlp_jax.training import dispatch
from dmlp_jax.training.contrast import Queue
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState

_SHARES = ("memory_start", "correct_start", "tune_start", "bootstrap_start", "class_quantile")


class MOITState(NamedTuple):
    """State of MOIT+.

    Attributes:
        network: the training state.
        memory: recent projections with their class, -1 for a row that was not written yet.
        selected: 1 for a row that is selected, else 0, [n] float32.
    """

    network: TrainState
    memory: Queue
    selected: jax.Array | np.ndarray


@register("moit_plus")
def make_moit_plus(settings: ConfigDict, task: Task) -> Method:
    """MOIT+ with `correct_start`, `tune_start`, `neighbours`, `memory_per_class` and others; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: a share is out of range, or a number not positive.
    """
    fine_tuning.check(
        settings, _SHARES, ("neighbours", "temperature", "memory_per_class", "projection_width")
    )
    network = fine_tuning.make_network(settings, task)
    weak, strong = fine_tuning.make_policies(settings)
    remember, correct, tune, bootstrap = (round(settings[name] * settings.epochs) for name in _SHARES[:4])

    def init(key: jax.Array, train: TrainingSet) -> MOITState:
        rows = fine_tuning.memory_rows(settings, train.targets.shape[1])
        memory = Queue(
            jnp.zeros((rows, settings.projection_width)), jnp.full(rows, -1, jnp.int32), jnp.int32(0)
        )
        return MOITState(network.init(key, train.inputs), memory, jnp.ones(len(train.inputs), jnp.float32))

    def train_step(state: MOITState, batch: Batch, *, axis_name: str | None) -> tuple[MOITState, dict]:
        if "all" in batch.data:
            return contrast(state, batch, axis_name)
        after, metrics = fine_tuning.step(network, weak, state.network, batch, axis_name)
        return state._replace(network=after), metrics

    def contrast(state: MOITState, batch: Batch, axis_name: str | None) -> tuple[MOITState, dict]:
        inputs, targets = augment.to_float(batch.data["all"]["inputs"]), batch.data["all"]["targets"]
        before, keys = state.network, jax.random.split(batch.key, 5)
        view_keys = jax.vmap(jax.random.split)(batch.keys)
        mixes = [mixing.draw(key, 1, len(targets), settings.mixup, axis_name) for key in keys[:2]]
        views = [
            mixing.apply(mix, strong(view_keys[:, view], inputs)[None], axis_name)[0]
            for view, mix in enumerate(mixes)
        ]
        kept = state.selected[batch.rows["all"]]
        kept = jnp.where(batch.info["corrects"] > 0, kept, 1.0)[:, None]
        labels = jnp.argmax(targets, axis=1).astype(jnp.float32)
        minor = [mixing.apply(mix._replace(share=jnp.zeros(())), labels[None], axis_name) for mix in mixes]
        pairs = Pairs(
            jnp.stack([labels, labels]).astype(jnp.int32),
            jnp.concatenate(minor).astype(jnp.int32),
            jnp.stack([jnp.broadcast_to(mix.share, labels.shape) for mix in mixes]),
            jnp.concatenate([mix.partners for mix in mixes]),
        )

        def loss_fn(params):
            stats, outputs = before.batch_stats, []
            for view, key in zip(views, keys[2:4], strict=True):
                logits, rows, stats = fine_tuning.projected(network, params, stats, view, key, axis_name)
                outputs.append((logits, rows))
            own, stats = fine_tuning.unaugmented(network, before, stats, inputs, keys[4], axis_name)
            guess = jax.lax.stop_gradient(jax.nn.softmax(own))
            fit = jnp.zeros(())
            for (logits, _), mix in zip(outputs, mixes, strict=True):
                given = mixing.apply(mix, targets[None], axis_name)[0]
                guessed = mixing.apply(mix, ((1.0 - kept) * guess)[None], axis_name)[0]
                fit += jnp.mean(losses.cross_entropy(logits, kept * given + guessed)) / 2
            near, in_memory, memory = interpolated_contrast(
                jnp.stack([rows for _, rows in outputs]), pairs, state.memory, settings.temperature, axis_name
            )
            close = jnp.mean(near) + batch.info["remembers"] * jnp.mean(in_memory)
            return fit + close, (own, stats, memory, {"fit": fit, "contrast": close})

        (loss, (own, stats, memory, parts)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": plain.agreement(own, targets), **parts}
        return state._replace(network=after, memory=memory), metrics

    def predict(state: MOITState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        rows, classes = len(train.inputs), train.targets.shape[1]
        labels = np.argmax(train.targets, axis=1)

        embed = fine_tuning.make_embed(network, train.inputs, devices)
        vote = neighbours.voter(rows, settings.neighbours, devices)

        def plan(state: MOITState, epoch: int, key: jax.Array) -> tuple[MOITState, Plan]:
            order_key, head_key = jax.random.split(key)
            if correct <= epoch <= tune:
                found = agreement.select(embed(state.network), labels, classes, vote, settings.class_quantile)
                state = state._replace(selected=found.astype(np.float32))
            if epoch < tune:
                order = dispatch.shuffled(rows, settings.batch_size, order_key).indices
                info = {"corrects": epoch >= correct, "remembers": epoch >= remember}
                return state, Plan({"all": order}, fine_tuning.repeated(info, len(order)))
            if epoch == tune:
                fresh = fine_tuning.with_new_classifier(network, state.network, head_key)
                state = state._replace(network=fresh)
            bootstraps = epoch >= bootstrap
            return state, fine_tuning.plan(state.selected, settings.batch_size, bootstraps, order_key)

        return plan

    return Method(init, train_step, predict, make_planner, alike_from=tune)
