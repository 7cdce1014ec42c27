"""Implements DivideMix (Li et al., ICLR 2020): rows with large losses are treated as unlabelled.

Two networks are trained in turn, as in the paper. After a warm-up on all labels, each network's losses divide
the rows for the other network. Rows with a small loss keep their label, refined by the network's own
prediction. The other rows get pseudo-labels from both networks. MixMatch is trained on the two sets.

Where the authors' code is more specific than the paper it is followed: both divisions are made before either
network is trained; the network in training predicts its pseudo-labels in training mode, the other one in
evaluation mode. There are two differences. All views for the pseudo-labels go through the network in one
forward pass, not four, so that batch statistics are those of four times as many rows. And the running
statistics are those of these views only, not of mixed images too, because test images are not mixed.

Two options are not in the paper. With `bound_by_noise` no more labels are taken for wrong than the estimated
noise rate allows: where few labels are wrong, the mixture would discard the labels of hard rows. With
`divide_by` set to 'confidence', labels that are distributions, such as purified ones, are divided by their
own largest probability, which draws on the clean rows, instead of by losses, and without that bound.

With `init=encoder` this is C2D's start from a self-supervised encoder (Zheltonozhskii et al. 2022), though
with DivideMix's own constants; with clean rows among the training rows, all of them with `select_share=0`, it
is what the DMLP paper calls DivideMix*.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.data.images import lazy
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, by_noise, known_rate, register
from dmlp_jax.retrain.methods import division, losses, mixing, mixmatch
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import inference, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class DivideMixState(NamedTuple):
    """State of both networks.

    Attributes:
        networks: both training states, every leaf with a leading axis of 2.
        clean: probability that each row's label is right, by the losses of each network, [2, n].
        losses: the last normalised losses of each network, the latest first, [2, k, n]; nan before the first.
    """

    networks: TrainState
    clean: jax.Array | np.ndarray
    losses: jax.Array | np.ndarray


@register("dividemix")
def make_dividemix(settings: ConfigDict, task: Task) -> Method:
    """DivideMix with `divide_warmup`, `threshold`, `lambda_u`, `lambda_u_ramp` and others; see recipes.

    Args:
        settings: the `retrain` settings; `batch_size` is that of labelled rows and of unlabelled ones.
        task: number of classes, steps per epoch, pretrained encoder.
    """
    if settings.divide_by not in ("losses", "confidence"):
        raise UserError(
            f"recipes.dividemix.divide_by is {settings.divide_by!r}; it must be losses or confidence"
        )
    if settings.divide_by == "confidence" and not settings.soft_labels:
        raise UserError("recipes.dividemix.divide_by=confidence needs retrain.soft_labels=True")
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> DivideMixState:
        networks = [network.init(k, train.inputs) for k in jax.random.split(key)]
        rows, kept = (
            len(train.inputs),
            int(by_noise("recipes.dividemix.loss_memory", settings.loss_memory, train.noise_rate)),
        )
        epoch_rows = min(settings.epoch_rows or rows, rows)
        if epoch_rows < 2 * settings.batch_size:
            raise UserError(
                f"retrain.batch_size is {settings.batch_size} with {epoch_rows} rows to train on in an "
                "epoch; dividemix trains on as many labelled as unlabelled ones, so choose at most "
                f"{epoch_rows // 2}"
            )
        return DivideMixState(
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks),
            jnp.ones((2, rows), jnp.float32),
            jnp.full((2, kept, rows), jnp.nan, jnp.float32),
        )

    def train_step(
        state: DivideMixState, batch: Batch, *, axis_name: str | None
    ) -> tuple[DivideMixState, dict]:
        which = batch.info["network"]
        own = jax.tree.map(lambda leaf: leaf[which], state.networks)
        if "labelled" in batch.data:
            peer = jax.tree.map(lambda leaf: leaf[1 - which], state.networks)
            clean = state.clean[1 - which][batch.rows["labelled"]]
            after, metrics = semi_supervised(own, peer, clean, batch, axis_name)
        else:
            after, metrics = warm_up(own, batch, axis_name)
        networks = jax.tree.map(lambda both, one: both.at[which].set(one), state.networks, after)
        return state._replace(networks=networks), metrics

    def hard(targets: jax.Array) -> jax.Array:
        """One-hot most probable classes where the division uses the probabilities, else `targets`."""
        if settings.divide_by != "confidence":
            return targets
        return jax.nn.one_hot(jnp.argmax(targets, axis=-1), targets.shape[-1])

    def warm_up(own: TrainState, batch: Batch, axis_name: str | None) -> tuple[TrainState, dict]:
        inputs = policy(batch.keys, augment.to_float(batch.data["all"]["inputs"]))
        targets = hard(batch.data["all"]["targets"])

        def loss_fn(params):
            logits, stats = network.train_logits(params, own.batch_stats, inputs, batch.key, axis_name)
            loss = jnp.mean(losses.cross_entropy(logits, targets))
            if settings.confidence_penalty:
                loss += jnp.mean(losses.negative_entropy(logits))
            return loss, (logits, stats)

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(own.params)
        metrics = {"loss": loss, "train_accuracy": agreement(logits, targets)}
        return network.step(own, grads, stats, axis_name, epoch=batch.epoch), metrics

    def semi_supervised(
        own: TrainState, peer: TrainState, clean: jax.Array, batch: Batch, axis_name: str | None
    ) -> tuple[TrainState, dict]:
        mix_key, guess_key, drop_key = jax.random.split(batch.key, 3)
        images = [augment.to_float(batch.data[part]["inputs"]) for part in ("labelled", "unlabelled")]
        keys = jax.vmap(lambda key: jax.random.split(key, 4))(batch.keys)
        views = jnp.stack([policy(keys[:, view], images[view // 2]) for view in range(4)])
        size, targets = views.shape[1], hard(batch.data["labelled"]["targets"])
        flat = views.reshape(4 * size, *views.shape[2:])
        guesses, stats = network.train_logits(own.params, own.batch_stats, flat, guess_key, axis_name)
        guesses = guesses.reshape(4, size, -1)
        others = network.logits(peer, flat[2 * size :]).reshape(2, size, -1)
        refined = mixmatch.co_refine(targets, clean, guesses[:2], settings.sharpen)
        guessed = mixmatch.co_guess(jnp.concatenate([guesses[2:], others]), settings.sharpen)
        mix = mixing.draw(mix_key, 4, size, settings.mixup, axis_name)
        mixed = mixing.apply(mix, views, axis_name).reshape(flat.shape)
        goals = mixing.apply(mix, jnp.stack([refined, refined, guessed, guessed]), axis_name)
        goals = goals.reshape(4 * size, -1)
        if settings.labelled_only:
            mixed, goals = mixed[: 2 * size], goals[: 2 * size]

        def loss_fn(params):
            logits, _ = network.train_logits(params, own.batch_stats, mixed, drop_key, axis_name)
            return mixmatch.mixed_loss(logits, goals, 2 * size, batch.info["lambda_u"], axis_name)

        loss, grads = jax.value_and_grad(loss_fn)(own.params)
        metrics = {
            "loss": loss,
            "train_accuracy": agreement(guesses[0], targets),
            "labelled": batch.info["labelled"],
        }
        return network.step(own, grads, stats, axis_name, epoch=batch.epoch), metrics

    def predict(state: DivideMixState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(sum(both_logits(state, inputs)))

    def both_logits(state: DivideMixState, inputs: jax.Array) -> list[jax.Array]:
        # One network after the other: vmap over weights would make grouped convolutions, which are slow.
        pair = [jax.tree.map(lambda leaf: leaf[which], state.networks) for which in (0, 1)]  # noqa: B023
        return [network.logits(one, inputs) for one in pair]

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        lambda_u = by_noise("recipes.dividemix.lambda_u", settings.lambda_u, train.noise_rate)
        threshold = by_noise("recipes.dividemix.threshold", settings.threshold, train.noise_rate)
        rows, size, most_wrong = len(train.inputs), settings.batch_size, 1.0
        if settings.bound_by_noise:
            most_wrong = known_rate(train.noise_rate, "recipes.dividemix.bound_by_noise depends on it")

        confidence = np.max(train.targets, axis=1)
        ramp = max(settings.lambda_u_ramp, 1e-9)

        def costs(state, inputs, targets):
            both = both_logits(state, inputs)
            return jnp.stack([losses.cross_entropy(logits, targets) for logits in both], axis=1)

        def over(chosen):
            inputs = lazy.take(train.inputs, chosen)
            return inference.over_rows(costs, (inputs, train.targets[chosen]), devices)

        everything = None if settings.epoch_rows else over(np.arange(rows))
        classes = np.argmax(train.targets, axis=1)

        def plan(state: DivideMixState, epoch: int, key: jax.Array) -> tuple[DivideMixState, Plan]:
            keys = jax.random.split(key, (2, 3))
            # The authors' warm-up uses twice as many rows, in batches twice as large.
            passes = 2 if epoch < settings.divide_warmup else 1
            chosen = division.balanced(classes, passes * settings.epoch_rows, key)
            if epoch < settings.divide_warmup:
                steps = len(chosen) // (2 * size)
                return state, division.join(
                    [
                        Plan(
                            {"all": division.batches(chosen, steps, 2 * size, keys[which, 0])},
                            {"network": np.full(steps, which, np.int32)},
                        )
                        for which in (0, 1)
                    ]
                )
            if settings.divide_by == "confidence" and np.any(confidence < 1.0):
                state = state._replace(clean=np.stack([confidence, confidence]))
            else:
                evaluate = everything or over(chosen)
                state = _judge(state, chosen, evaluate(state), keys[:, 2], most_wrong)
            parts = []
            for which in (0, 1):
                parts_of = division.divide(np.asarray(state.clean)[1 - which, chosen], threshold, size)
                labelled, unlabelled = (chosen[part] for part in parts_of)
                steps = -(-len(labelled) // size)
                risen = (epoch + np.arange(steps) / steps - settings.divide_warmup) / ramp
                indices = {
                    "labelled": division.batches(labelled, steps, size, keys[which, 0]),
                    "unlabelled": division.batches(unlabelled, steps, size, keys[which, 1]),
                }
                info = {
                    "network": np.full(steps, which, np.int32),
                    "lambda_u": (lambda_u * np.clip(risen, 0.0, 1.0)).astype(np.float32),
                    "labelled": np.full(steps, len(labelled) / len(chosen), np.float32),
                }
                parts.append(Plan(indices, info))
            return state, division.join(parts)

        return plan

    return Method(init, train_step, predict, make_planner, alike_from=settings.divide_warmup)


def _judge(
    state: DivideMixState, chosen: np.ndarray, costs: np.ndarray, keys: jax.Array, most_wrong: float
) -> DivideMixState:
    """The state with this epoch's losses [k, 2] of the rows chosen and new probabilities of right labels."""
    latest = np.stack([division.normalized(column) for column in costs.T])
    kept = np.concatenate([latest[:, None], np.asarray(state.losses)[:, :-1, chosen]], axis=1)
    judged, losses = np.array(state.clean), np.array(state.losses)
    losses[:, :, chosen] = kept
    for which, (memory, key) in enumerate(zip(kept, keys, strict=True)):
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        judged[which, chosen] = division.clean_probability(np.nanmean(memory, axis=0), seed, most_wrong)
    return state._replace(clean=judged, losses=losses)
