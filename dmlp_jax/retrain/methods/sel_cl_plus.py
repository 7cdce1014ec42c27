"""Implements Sel-CL+ (Li et al., CVPR 2022): contrast of selected pairs, then fine-tuning on selected rows.

Rows whose given label agrees with those of their neighbours are selected before each epoch. Pairs of rows of
the same label are selected if both rows are, or if they are as similar as most of these pairs. Four losses
are minimised. Mixed rows are attracted by the rows they form selected pairs with (MOIT's interpolated
contrast), also in a memory. A row without such partners is attracted by its other view among a queue of other
rows (MoCo). Predictions of selected pairs become similar. And the classifier learns the labels of selected
rows, which are mixed too. Queue and memory hold projections of a weight average of the network. The first
epoch has MoCo's loss only. Fine-tuning is that of MOIT+, in the same run, at the learning rate at which the
first stage ends.

Of the authors' two programs this is the second, which weighs neighbours' votes by similarity, forms pairs
within a step and takes no row for its own neighbour. Where they draw 500 random partners for each selected
row to find the bound of similarity, all selected rows of a class are compared, or 500 of them. The gradient
of the similarity of predictions is clipped on its own, as there. Binary targets of similarity stay below 1.

Features instead of images have one view only; contrast is then between rows.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import neighbours
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import agreement, division, fine_tuning, losses, mixing, plain, selected_pairs
from dmlp_jax.retrain.methods.average import averaged
from dmlp_jax.retrain.methods.interpolated_contrast import everywhere, numbers_in_memory
from dmlp_jax.retrain.methods.selected_pairs import known_of
from dmlp_jax.training import dispatch
from dmlp_jax.training.contrast import Queue, gathered, info_nce, own_places, push, unit_rows
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState

_SHARES = (
    "memory_start", "supervise_start", "tune_start", "bootstrap_start", "class_quantile", "pair_quantile",
)  # fmt: skip
_POSITIVE = ("neighbours", "temperature", "memory_per_class", "projection_width", "queue", "similarity_clip")


class SelCLState(NamedTuple):
    """State of Sel-CL+.

    Attributes:
        network: the training state.
        average: weight average of its parameters.
        queue: recent projections of unmixed views by the average.
        memory: recent projections of mixed views by the average, with their 'probs' and 'rows', the number of
            a row in the training set, -1 for a place that was never written.
        features: unit projections of all rows before the epoch [n, d].
        selected: 1 for a row that is selected, else 0, [n] float32.
        bound: similarity above which a pair of the same label is selected, scalar.
        labels: given classes [n].
    """

    network: TrainState
    average: Any
    queue: Queue
    memory: Queue
    features: jax.Array | np.ndarray
    selected: jax.Array | np.ndarray
    bound: jax.Array | np.ndarray
    labels: jax.Array | np.ndarray


@register("sel_cl_plus")
def make_sel_cl_plus(settings: ConfigDict, task: Task) -> Method:
    """Sel-CL+ with `class_quantile`, `pair_quantile`, `neighbours`, `queue` and others; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: a share is out of range, a number not positive, or the queue smaller than a batch.
    """
    fine_tuning.check(settings, _SHARES, _POSITIVE)
    if settings.queue < settings.batch_size:
        raise UserError(
            f"recipes.sel_cl_plus.queue is {settings.queue}, but a batch has {settings.batch_size} rows; set "
            f"at least {settings.batch_size}"
        )
    network = fine_tuning.make_network(settings, task)
    weak, strong = fine_tuning.make_policies(settings)
    passed = partial(fine_tuning.projected, network)
    remember, supervise, tune, bootstrap = (round(settings[name] * settings.epochs) for name in _SHARES[:4])

    def init(key: jax.Array, train: TrainingSet) -> SelCLState:
        (n, c), width = train.targets.shape, settings.projection_width
        rows = fine_tuning.memory_rows(settings, c)
        network_key, queue_key = jax.random.split(key)
        state = network.init(network_key, train.inputs)
        queue = unit_rows(jax.random.normal(queue_key, (settings.queue, width)))
        info = {"probs": jnp.zeros((rows, c)), "rows": jnp.full(rows, -1, jnp.int32)}
        return SelCLState(
            state,
            state.params,
            Queue(queue, (), jnp.int32(0)),
            Queue(jnp.zeros((rows, width)), info, jnp.int32(0)),
            jnp.zeros((n, width)),
            jnp.ones(n, jnp.float32),
            jnp.float32(0.0),
            jnp.argmax(jnp.asarray(train.targets), axis=1).astype(jnp.int32),
        )

    def train_step(state: SelCLState, batch: Batch, *, axis_name: str | None) -> tuple[SelCLState, dict]:
        if "all" in batch.data:
            return contrast(state, batch, axis_name)
        after, metrics = fine_tuning.step(network, weak, state.network, batch, axis_name)
        return state._replace(network=after), metrics

    def contrast(state: SelCLState, batch: Batch, axis_name: str | None) -> tuple[SelCLState, dict]:
        before, stats_before = state.network, state.network.batch_stats
        size, rows = len(batch.data["all"]["targets"]), batch.rows["all"]
        keys = jax.random.split(batch.key, 12)
        view_keys = jax.vmap(lambda key: jax.random.split(key, 4))(batch.keys)
        images = {part: augment.to_float(data["inputs"]) for part, data in batch.data.items()}
        views = [strong(view_keys[:, view], images["all"]) for view in range(2)]
        mixes = [mixing.draw(key, 1, size, settings.mixup, axis_name) for key in keys[:2]]
        mixed = [mixing.apply(mix, view[None], axis_name)[0] for mix, view in zip(mixes, views, strict=True)]
        fixed = [
            passed(state.average, stats_before, view, key, axis_name)[:2]
            for view, key in zip((views[1], *mixed), keys[2:5], strict=True)
        ]
        key_rows = fixed[0][1]
        stored = everywhere(jnp.stack([projected for _, projected in fixed[1:]]), axis_name)
        stored_probs = everywhere(jnp.stack([jax.nn.softmax(logits) for logits, _ in fixed[1:]]), axis_name)
        every = gathered(rows, axis_name)
        info = {"probs": stored_probs, "rows": jnp.tile(every, 2)}
        numbers = numbers_in_memory(state.memory, 2 * len(every))
        first, memory = state.memory.place, push(state.memory, stored, info)
        queue = push(state.queue, gathered(key_rows, axis_name))
        share = jnp.repeat(jnp.stack([mix.share for mix in mixes]), size)
        partner = jnp.concatenate([mix.partners[0] for mix in mixes])
        known = partial(known_of, state.features, state.labels, state.selected)
        place = own_places(size, axis_name)
        own, places = jnp.tile(place, 2), jnp.concatenate([place, place + len(every)])

        def supervised_losses(params, stats):
            outputs = []
            for view, key in zip(mixed, keys[5:7], strict=True):
                logits, projections, stats = passed(params, stats, view, key, axis_name)
                outputs.append((jax.nn.softmax(logits), projections))
            probs, anchors = (jnp.stack(part) for part in zip(*outputs, strict=True))
            own_rows, bound = known(every), jnp.asarray(state.bound)
            chosen = selected_pairs.pairs(own_rows, own_rows, bound)
            common = {
                "anchors": anchors.reshape(-1, anchors.shape[-1]),
                "probs": probs.reshape(-1, probs.shape[-1]),
                "own": own,
                "partner": partner,
                "share": share,
                "temperature": settings.temperature,
            }
            near = selected_pairs.pair_losses(
                keys=everywhere(anchors, axis_name),
                key_probs=everywhere(probs, axis_name),
                chosen=jnp.tile(chosen, 2),
                places=places,
                numbers=jnp.tile(jnp.arange(len(every)), 2),
                known=jnp.ones(2 * len(every), bool),
                **common,
            )
            far = selected_pairs.pair_losses(
                keys=memory.keys,
                key_probs=memory.info["probs"],
                chosen=selected_pairs.pairs(own_rows, known(memory.info["rows"]), bound),
                places=(first + places) % len(memory.keys),
                numbers=numbers,
                known=memory.info["rows"] >= 0,
                **common,
            )
            return near, far, stats

        def classified(params, stats):
            fit, targets = jnp.zeros(()), batch.data["selected"]["targets"]
            for number in range(2):
                mix = mixing.draw(keys[7 + number], 1, size, settings.mixup, axis_name)
                view = strong(view_keys[:, 2 + number], images["selected"])
                view, goals = (mixing.apply(mix, part[None], axis_name)[0] for part in (view, targets))
                logits, _, stats = passed(params, stats, view, keys[9 + number], axis_name)
                fit += jnp.mean(losses.cross_entropy(logits, goals)) / 2
            return fit, stats

        def objectives(params):
            """The loss, and that of the similarity of predictions, whose gradient is clipped on its own."""
            logits, projections, stats = passed(params, stats_before, views[0], keys[11], axis_name)
            apart = info_nce(projections, key_rows, state.queue.keys, settings.temperature)
            if not supervises:
                return (jnp.mean(apart), 0.0 * jnp.mean(apart)), (logits, stats, {})
            near, far, stats = supervised_losses(params, stats)
            fit, stats = classified(params, stats)
            remembers = batch.info["remembers"]
            alone = jnp.where(remembers > 0, near.partners + far.partners < 2, near.partners < 1)
            close = jnp.mean(near.contrast) + remembers * jnp.mean(far.contrast)
            parts = {"apart": jnp.mean(alone * apart), "contrast": close, "fit": fit}
            alike = near.similarity + remembers * far.similarity
            found = sum(parts.values()), settings.similarity_weight * alike
            return found, (logits, stats, {**parts, "similarity": alike})

        supervises = "selected" in batch.data
        (loss, alike), pull, (logits, stats, parts) = jax.vjp(objectives, before.params, has_aux=True)
        ((grads,), (more,)) = (pull(seeds) for seeds in ((1.0, 0.0), (0.0, 1.0)))
        more = more if axis_name is None else jax.lax.pmean(more, axis_name)
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(more)))
        factor = jnp.minimum(1.0, settings.similarity_clip / (norm + 1e-6))
        grads = jax.tree.map(lambda grad, other: grad + factor * other, grads, more)
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        average = averaged(state.average, after.params, settings.ema)
        accuracy = plain.agreement(logits, batch.data["all"]["targets"])
        metrics = {"loss": loss + alike, "train_accuracy": accuracy, **parts}
        return state._replace(network=after, average=average, queue=queue, memory=memory), metrics

    def predict(state: SelCLState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        (rows, classes), size = train.targets.shape, settings.batch_size
        labels = np.argmax(train.targets, axis=1)
        embed = fine_tuning.make_embed(network, train.inputs, devices)
        vote = neighbours.voter(rows, settings.neighbours, devices, temperature=settings.temperature)

        def plan(state: SelCLState, epoch: int, key: jax.Array) -> tuple[SelCLState, Plan]:
            order_key, pick_key, head_key = jax.random.split(key, 3)
            if supervise <= epoch <= tune:
                features = embed(state.network)
                selected = agreement.select(features, labels, classes, vote, settings.class_quantile)
                rng = np.random.default_rng(np.asarray(jax.random.key_data(pick_key)))
                bound = selected_pairs.bound_of(features, labels, selected, settings.pair_quantile, rng)
                state = state._replace(
                    features=features, selected=selected.astype(np.float32), bound=np.asarray(bound)
                )
            if epoch < tune:
                order = dispatch.shuffled(rows, size, order_key).indices
                indices, steps = {"all": order}, len(order)
                if epoch >= supervise:
                    chosen = np.flatnonzero(np.asarray(state.selected) > 0)
                    indices["selected"] = division.batches(chosen, steps, size, pick_key)
                return state, Plan(indices, fine_tuning.repeated({"remembers": epoch >= remember}, steps))
            if epoch == tune:
                fresh = fine_tuning.with_new_classifier(network, state.network, head_key)
                state = state._replace(network=fresh)
            return state, fine_tuning.plan(state.selected, size, epoch >= bootstrap, order_key)

        return plan

    return Method(init, train_step, predict, make_planner, alike_from=tune)
