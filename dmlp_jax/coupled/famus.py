"""Implements FaMUS (Xu et al., "Faster meta update strategy for noise-robust deep learning", CVPR 2021).

A pair of networks is trained as in DivideMix, with row weights as in Meta-Weight-Net; it needs no clean rows.
After a warm-up each network's losses divide the rows for the other one. All rows get a refined label, the
sharpened w y + (1 - w) p, and a guessed one from both networks; two views of each are mixed. With v the
weights that a small network gives to the rows' cross-entropy, divided by their sum, the loss of a step is

    2 sum_labelled v CE(refined) + 2 lambda_u sum_unlabelled v |p - guessed|^2 / c + L_reg (of DivideMix).

The weight network is trained on the loss V after a step of plain gradient descent on this loss. V is that of
mixed rows that the division takes for clean, CE + L_reg; to it comes `mismatch_weight` times
`famus_gates.head_mismatch`. Gates choose the layers that this look-ahead goes through; the last layer always
counts, layers before the gated ones never. Gates are trained on V and `gates_weight` (open ones - 4)^2.

The authors' code is followed (github.com/youjiangxu/FaMUS), which is for another data set, with these
differences. Its penalty sees the last gate only, a mistake; here it sees all. All views go through a network
in one pass, whose running statistics are kept. A side of the division with less than a batch is filled up.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dmlp_jax.coupled import famus_gates, famus_plan, lookahead, meta_nets
from dmlp_jax.coupled.famus_gates import HEAD
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.coupled.meta_nets import MetaState, WeightNet
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing, mixmatch
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class FaMUSState(NamedTuple):
    """State of the pair; every leaf but those of `clean` has a leading axis of 2, and so has `clean`.

    Attributes:
        networks: both training states.
        weights: the weight networks.
        gates: the gates' networks, by tensor.
        clean: probability that each row's label is right, by the losses of each network, [2, n].
    """

    networks: TrainState
    weights: MetaState
    gates: MetaState
    clean: jax.Array | np.ndarray


@register("famus")
def make_famus(settings: ConfigDict, task: Task) -> Method:
    """FaMUS; its constants are in `recipes_lookahead`.

    Args:
        settings: the `retrain` settings; `batch_size` is that of labelled, unlabelled and meta rows each.
        task: number of classes, steps per epoch, pretrained encoder.
    """
    rate = learning_rates.make(settings)
    network = Network(settings, task, make_optimizer(settings, rate))
    weight_net = WeightNet(settings.weight_width)
    weight_optimizer = meta_nets.nesterov(settings.meta_lr, settings.meta_decay)
    gate_optimizer = meta_nets.nesterov(settings.gates_lr, 0.0)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> FaMUSState:
        epoch_rows = min(settings.epoch_rows or len(train.inputs), len(train.inputs))
        if epoch_rows < 2 * settings.batch_size:
            raise UserError(
                f"retrain.batch_size is {settings.batch_size} with {epoch_rows} rows to train on in an "
                "epoch; famus trains on as many labelled as unlabelled ones, so choose at most "
                f"{epoch_rows // 2}"
            )
        names = famus_gates.gated_names(settings, task.num_classes, train.inputs)

        def one(key):
            network_key, weight_key, gate_key = jax.random.split(key, 3)
            state = network.init(network_key, train.inputs)
            flat = traverse_util.flatten_dict(state.params, sep="/")
            weights = weight_net.init(weight_key, jnp.zeros(1))["params"]
            gates = famus_gates.init(gate_key, {name: flat[name] for name in names})
            return (
                state,
                meta_nets.init_meta(weights, weight_optimizer),
                meta_nets.init_meta(gates, gate_optimizer),
            )

        pair = [one(k) for k in jax.random.split(key)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)
        networks, weights, gates = stacked
        return FaMUSState(networks, weights, gates, jnp.ones((2, len(train.inputs)), jnp.float32))

    def train_step(state: FaMUSState, batch: Batch, *, axis_name: str | None) -> tuple[FaMUSState, dict]:
        which = batch.info["network"]
        trained = state.networks, state.weights, state.gates
        own, peer = (
            jax.tree.map(lambda leaf: leaf[index], trained)  # noqa: B023
            for index in (which, 1 - which)
        )
        if "labelled" in batch.data:
            after, metrics = learn(own, peer[0], state.clean[1 - which], batch, axis_name)
        else:
            after, metrics = warm_up(own, batch, axis_name)
        networks, weights, gates = jax.tree.map(lambda old, new: old.at[which].set(new), trained, after)
        return FaMUSState(networks, weights, gates, state.clean), metrics

    def warm_up(own: tuple, batch: Batch, axis_name: str | None) -> tuple[tuple, dict]:
        before, rows = own[0], batch.data["all"]
        inputs = policy(batch.keys, augment.to_float(rows["inputs"]))
        done = TrainingPass(network, before, inputs, batch.key, axis_name)
        loss, grads = done.gradient(rows["targets"])
        after = network.step(before, grads, done.batch_stats, None, epoch=batch.epoch)
        return (after, *own[1:]), {"loss": loss, "train_accuracy": agreement(done.logits, rows["targets"])}

    def learn(
        own: tuple, peer: TrainState, clean: jax.Array, batch: Batch, axis_name: str | None
    ) -> tuple[tuple, dict]:
        before, weights, gates = own
        keys = jax.random.split(batch.key, 6)
        views, refined, guessed, stats, hits = look(before, peer, clean, batch, keys[0], axis_name)
        size = refined.shape[1]
        mix = mixing.draw(keys[1], 4, size, settings.mixup, axis_name)
        doubled = [0, 0, 1, 1]
        mixed, goals, hints = (
            _flat(mixing.apply(mix, rows, axis_name))
            for rows in (views[:4], refined[jnp.array(doubled)], guessed[jnp.array(doubled)])
        )
        mix = mixing.draw(keys[2], 2, size, settings.mixup, axis_name)
        judge, truth = (
            _flat(mixing.apply(mix, rows, axis_name)) for rows in (views[4:], refined[jnp.array([2, 2])])
        )
        done = TrainingPass(network, before, mixed, keys[3], axis_name)
        costs = losses.cross_entropy(done.logits, goals)
        lambda_u = batch.info["lambda_u"]

        def row_losses(logits):
            fit = losses.cross_entropy(logits[: 2 * size], goals[: 2 * size])
            apart = jnp.mean((jax.nn.softmax(logits[2 * size :]) - hints[2 * size :]) ** 2, axis=-1)
            return 2.0 * jnp.concatenate([fit, lambda_u * apart])

        def weigh(params):
            values: Any = weight_net.apply({"params": params}, costs)
            return normalized(values, axis_name)

        def loss_under(values):
            # A mean over devices, so that it is the sum over all rows.
            return lambda logits: (
                devices(axis_name) * jnp.sum(values * row_losses(logits))
                + losses.uneven_classes(logits, axis_name)
            )

        def judge_loss(logits):
            return jnp.mean(losses.cross_entropy(logits, truth)) + losses.uneven_classes(logits, axis_name)

        values, pull_weights = jax.vjp(weigh, weights.params)
        _, grads = done.gradient_of(loss_under(values))
        length = rate(batch.epoch)
        moved = before._replace(params=lookahead.descend(before.params, length, grads))
        ahead = TrainingPass(network, moved, judge, keys[4], axis_name)
        meta_loss, judged = ahead.gradient_of(judge_loss)

        grads, judged = (traverse_util.flatten_dict(tree, sep="/") for tree in (grads, judged))
        opened, pull_gates = jax.vjp(
            lambda params: famus_gates.draw(keys[5], params, {name: grads[name] for name in params}),
            gates.params,
        )
        head = {name: grads[name] for name in HEAD}
        mismatch, slopes = jax.value_and_grad(famus_gates.head_mismatch)(head, judged)
        direction = {
            name: -length * opened.get(name, float(name in HEAD)) * slope for name, slope in judged.items()
        }
        for name in HEAD:
            direction[name] = direction[name] + settings.mismatch_weight * slopes[name]
        tangents = done.tangents(row_losses, traverse_util.unflatten_dict(direction, sep="/"))
        weight_grads = lookahead.scaled(
            devices(axis_name), lookahead.mean(pull_weights(tangents)[0], axis_name)
        )
        excess = sum(opened.values(), start=jnp.zeros(())) - settings.gates_open
        gate_slopes = {
            name: (1.0 - 2.0 * value) * length * jnp.vdot(judged[name], grads[name])
            + 2.0 * settings.gates_weight * excess
            for name, value in opened.items()
        }
        weights = meta_nets.update_meta(weights, weight_grads, weight_optimizer)
        gates = meta_nets.update_meta(gates, pull_gates(gate_slopes)[0], gate_optimizer)

        values = weigh(weights.params)
        loss, total = done.gradient_of(loss_under(values))
        after = network.step(before, total, stats, None, epoch=batch.epoch)
        metrics = {
            "loss": loss,
            "meta_loss": meta_loss + settings.mismatch_weight * mismatch,
            "open": excess + settings.gates_open,
            "train_accuracy": hits,
            "labelled": batch.info["labelled"],
        }
        return (after, weights, gates), metrics

    def look(
        own: TrainState,
        peer: TrainState,
        clean: jax.Array,
        batch: Batch,
        key: jax.Array,
        axis_name: str | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any, jax.Array]:
        """Views [6, b, ...], refined labels [3, b, c], guessed ones [2, b, c], statistics and agreement."""
        parts = ("labelled", "unlabelled", "meta")
        images = [augment.to_float(batch.data[part]["inputs"]) for part in parts]
        keys = jax.vmap(lambda key: jax.random.split(key, 6))(batch.keys)
        views = jnp.stack([policy(keys[:, view], images[view // 2]) for view in range(6)])
        flat, size = _flat(views), views.shape[1]
        logits, stats = network.train_logits(own.params, own.batch_stats, flat, key, axis_name)
        logits = logits.reshape(3, 2, size, -1)
        others = network.logits(peer, flat[: 4 * size]).reshape(2, 2, size, -1)
        given = [batch.data[part]["targets"] for part in parts]
        refined = [
            mixmatch.co_refine(targets, clean[batch.rows[part]], own_logits, settings.sharpen)
            for part, targets, own_logits in zip(parts, given, logits, strict=True)
        ]
        guessed = [
            mixmatch.co_guess(jnp.concatenate(pair), settings.sharpen)
            for pair in zip(logits[:2], others, strict=True)
        ]
        hits = agreement(logits[0, 0], given[0])
        return views, jnp.stack(refined), jnp.stack(guessed), stats, hits

    def both_logits(state: FaMUSState, inputs: jax.Array) -> list[jax.Array]:
        pair = [jax.tree.map(lambda leaf: leaf[which], state.networks) for which in (0, 1)]  # noqa: B023
        return [network.logits(one, inputs) for one in pair]

    def predict(state: FaMUSState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(sum(both_logits(state, inputs)) / 2)

    def make_planner(train: TrainingSet, local: list[jax.Device]) -> Planner:
        return famus_plan.make_planner(train, settings, both_logits, local)

    return Method(init, train_step, predict, make_planner, alike_from=settings.divide_warmup)


def normalized(values: jax.Array, axis_name: str | None) -> jax.Array:
    """Weights [b] over their sum over all devices."""
    total = devices(axis_name) * lookahead.mean(jnp.sum(values), axis_name)
    return values / jnp.where(total > 0, total, 1.0)


def devices(axis_name: str | None) -> int:
    """Number of devices that share a batch."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def _flat(rows: jax.Array) -> jax.Array:
    return rows.reshape(-1, *rows.shape[2:])
