"""Implements ProMix (Xiao et al., IJCAI 2023): clean rows are chosen ever more generously and mixed.

Two networks are trained together, each on rows of its own choice: those with the smallest losses of their
given class, those whose given label it predicts with high confidence, and late in the training those on which
both networks agree. A pseudo head beside the classifier also learns the other rows, so that their doubtful
labels do not reach the classifier. Running means of the predictions, one of chosen rows and one of the
others, take the bias towards frequent classes out of losses and of guessed labels.

The authors' code is followed, with these differences. Mixtures of rows that are not chosen go through the
network too, so they enter batch statistics, but no loss. Means over no rows are 0, where theirs become NaN.
Their confidence penalty clips logits where probabilities are meant. Their weight of the pseudo head's other
rows falls to 0 once it has risen, against the paper; `pseudo_stops` says whether it does so here. Features
are not mixed by masks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.models.registry import Projector
from dmlp_jax.retrain.method import Method, Task, TrainingSet, by_noise, register
from dmlp_jax.retrain.methods import division, losses, masks, mixing, selection
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Head, Network
from dmlp_jax.training import dispatch, inference, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class ProMixState(NamedTuple):
    """State of both networks.

    Attributes:
        networks: both training states.
        small: for each network and row, 1 where the row's loss is among the smallest of its class, [2, n].
        priors: running mean predictions of each network, of chosen rows and of the others, [2, 2, c].
    """

    networks: tuple[TrainState, TrainState]
    small: jax.Array | np.ndarray
    priors: jax.Array


@register("promix")
def make_promix(settings: ConfigDict, task: Task) -> Method:
    """ProMix with `keep`, `confidence`, `debias` and others; see recipes."""
    _check(settings)
    heads = {"pseudo": Head(Projector(1, 0, task.num_classes, bias=True))}
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)), heads)
    weak = augment.make(settings.augment, crop_size=settings.crop_size)
    # Features have no views.
    name = "none" if settings.augment == "none" else settings.strong_augment
    strong = augment.make(name, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> ProMixState:
        _kept(settings, train)
        first, second = (network.init(one, train.inputs) for one in jax.random.split(key))
        uniform = jnp.full((2, 2, task.num_classes), 1.0 / task.num_classes, jnp.float32)
        return ProMixState((first, second), jnp.zeros((2, len(train.targets)), jnp.float32), uniform)

    def train_step(state: ProMixState, batch: Batch, *, axis_name: str | None) -> tuple[ProMixState, dict]:
        step = chosen_step if "all" in batch.data else warm_up
        params = tuple(one.params for one in state.networks)
        found = jax.value_and_grad(step, has_aux=True)(params, state, batch, axis_name)
        (loss, (stats, priors, metrics)), grads = found
        first, second = (
            network.step(one, grads[which], stats[which], axis_name, epoch=batch.epoch)
            for which, one in enumerate(state.networks)
        )
        return state._replace(networks=(first, second), priors=priors), {"loss": loss, **metrics}

    def warm_up(params, state, batch, axis_name):
        data = batch.data["warm"]
        inputs, keys = weak(batch.keys, augment.to_float(data["inputs"])), jax.random.split(batch.key)
        total, found = jnp.zeros(()), []
        for which, one in enumerate(state.networks):
            logits, stats = network.train_logits(
                params[which], one.batch_stats, inputs, keys[which], axis_name
            )
            total += jnp.mean(losses.cross_entropy(logits, data["targets"]))
            if settings.confidence_penalty:
                total += jnp.mean(losses.negative_entropy(logits))
            found.append((logits, stats))
        metrics = {"train_accuracy": sum(agreement(logits, data["targets"]) for logits, _ in found) / 2}
        return total, (tuple(stats for _, stats in found), state.priors, metrics)

    def chosen_step(params, state, batch, axis_name):
        data, rows = batch.data["all"], batch.rows["all"]
        images, targets = augment.to_float(data["inputs"]), data["targets"]
        view_keys = jax.vmap(jax.random.split)(batch.keys)
        views = weak(view_keys[:, 0], images), strong(view_keys[:, 1], images)
        keys = [jax.random.split(key, 4) for key in jax.random.split(batch.key)]
        # Classifier and pseudo head of both networks, on both views.
        outputs, stats = [], []
        for which, one in enumerate(state.networks):
            found, running = [], one.batch_stats
            for number, view in enumerate(views):
                pair, running = both_heads(params[which], running, view, keys[which][number], axis_name)
                found.append(pair)
            outputs.append(found)
            stats.append(running)

        epoch, epochs = jnp.floor(batch.epoch), settings.epochs
        rise = jnp.minimum(epoch / max(settings.ramp * epochs, 1e-9), 1.0)
        pseudo = pseudo_weight(epoch, settings)
        late = epoch > round(settings.guess_start * epochs)
        plain = [jax.lax.stop_gradient(found[0][0]) for found in outputs]
        total, priors, shares = jnp.zeros(()), [], []
        for which, prior in enumerate(state.priors):
            small = state.small[which][rows] > 0
            choice = selection.choose(small, targets, plain, which, prior, late, settings, axis_name)
            mixed, stats[which] = mixtures(
                params[which], stats[which], views[0], choice, keys[which][2:], axis_name
            )
            of_heads = zip(*outputs[which], mixed, strict=True)
            found = [fit(a, b, c, choice, prior, rise, axis_name) for a, b, c in of_heads]
            (first, _), (second, others) = found
            # Rows that are not chosen are learned by the pseudo head alone.
            total += first + second + pseudo * others
            priors.append(
                selection.later_priors(prior, plain[which], choice.chosen, settings.prior_decay, axis_name)
            )
            shares.append(jnp.mean(choice.chosen.astype(jnp.float32)))
        metrics = {
            "train_accuracy": (agreement(plain[0], targets) + agreement(plain[1], targets)) / 2,
            "chosen": (shares[0] + shares[1]) / 2,
        }
        return total, (tuple(stats), jnp.stack(priors), metrics)

    def fit(first, second, mixed, choice, prior, rise, axis_name):
        """Losses of one head on chosen and on other rows, from logits of weak, strong and mixed views."""
        chosen, rest = (selection.mean_weights(mask, axis_name) for mask in (choice.chosen, ~choice.chosen))
        log_prior, log_other = settings.adjust * jnp.log(prior)

        def cost(logits, labels):
            return jnp.sum(chosen * losses.cross_entropy(logits + log_prior, labels))

        own = cost(first, choice.goals) + rise * cost(second, choice.goals)
        own += rise * sum(cost(logits, labels) for logits, labels in mixed)
        weak_other, strong_other = (
            jnp.sum(rest * losses.cross_entropy(logits + log_other, choice.doubtful))
            for logits in (first, second)
        )
        return own, weak_other + rise * strong_other

    def both_heads(params, stats, inputs, key, axis_name):
        logits, features, stats = network.train_outputs(params, stats, inputs, key, axis_name)
        pseudo, stats = network.head(params, stats, "pseudo", features, axis_name)
        return (logits, pseudo), stats

    def mixtures(params, stats, images, choice, keys, axis_name):
        """For each head logits and labels of its own mixtures: by mixup and, of images, by masks."""
        found = []
        for head, key in enumerate(keys):
            share_key, first_key, mask_key, second_key, *drop_keys = jax.random.split(key, 6)
            share = jax.random.beta(share_key, settings.mixup, settings.mixup)
            partners = mixing.draw_partners(first_key, choice.chosen, axis_name)
            mix = mixing.Mix(jnp.maximum(share, 1.0 - share), partners)
            pairs = [(mix, mixing.apply(mix, images[None], axis_name)[0])]
            if images.ndim == 4:
                share, mask = masks.draw(mask_key, *images.shape[1:3])
                mix = mixing.Mix(share, mixing.draw_partners(second_key, choice.chosen, axis_name))
                pairs.append((mix, mixing.apply_mask(mix, mask, images[None], axis_name)[0]))
            mixed = []
            for (mix, inputs), drop_key in zip(pairs, drop_keys, strict=False):
                logits, stats = both_heads(params, stats, inputs, drop_key, axis_name)
                mixed.append((logits[head], mixing.apply(mix, choice.goals[None], axis_name)[0]))
            found.append(mixed)
        return found, stats

    def both_logits(state: ProMixState, inputs: jax.Array) -> list[jax.Array]:
        return [network.logits(one, inputs) for one in state.networks]

    def predict(state: ProMixState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(sum(both_logits(state, inputs)) / 2)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        classes, rows = np.argmax(train.targets, axis=1), len(train.targets)
        count = int(np.ceil(_kept(settings, train) * rows / task.num_classes))

        def costs(state, inputs, targets):
            both = both_logits(state, inputs)
            return jnp.stack([losses.cross_entropy(logits, targets) for logits in both], axis=1)

        evaluate = inference.over_rows(costs, (train.inputs, train.targets), devices)

        def plan(state: ProMixState, epoch: int, key: jax.Array) -> tuple[ProMixState, Plan]:
            order = dispatch.shuffled(rows, settings.batch_size, key).indices
            if epoch < settings.divide_warmup:
                return state, Plan({"warm": order})
            small = [division.smallest_per_class(column, classes, count) for column in evaluate(state).T]
            return state._replace(small=np.array(small, np.float32)), Plan({"all": order})

        return plan

    return Method(init, train_step, predict, make_planner, alike_from=settings.divide_warmup)


def pseudo_weight(epoch: jax.Array, settings: ConfigDict) -> jax.Array:
    """Weight of the pseudo head's loss on rows that are not chosen.

    It rises linearly over `pseudo_ramp` of the epochs; with `pseudo_stops` it is 0 after that, as in the
    authors' code.
    """
    done = epoch / max(settings.pseudo_ramp * settings.epochs, 1e-9)
    weight = settings.pseudo_weight * jnp.minimum(done, 1.0)
    return jnp.where(done >= 1.0, 0.0, weight) if settings.pseudo_stops else weight


def _kept(settings: ConfigDict, train: TrainingSet) -> float:
    keep = by_noise("recipes.promix.keep", settings.keep, train.noise_rate)
    if not 0 < keep <= 1:
        raise UserError(f"recipes.promix.keep is {keep}; this share of a class's rows must lie in (0, 1]")
    return keep


def _check(settings: ConfigDict) -> None:
    if not 0 <= settings.prior_decay < 1:
        raise UserError(f"recipes.promix.prior_decay is {settings.prior_decay}; it must lie in [0, 1)")
    if settings.mixup <= 0 or settings.sharpen <= 0:
        raise UserError("recipes.promix.mixup and recipes.promix.sharpen must be above 0")
    for name in ("confidence", "fill"):
        if not 0 <= settings[name] <= 1:
            raise UserError(f"recipes.promix.{name} is {settings[name]}; it must lie in [0, 1]")
