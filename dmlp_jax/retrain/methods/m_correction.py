"""Implements M-correction (Arazo et al., ICML 2019): bootstrapping by a beta mixture of the losses.

After a start with mixup on the given labels, each target is (1 - w) y + w p. The label y is given, p is the
network's own prediction for the row, and w is the probability that y is wrong, by a mixture of two beta
distributions that is fitted to the losses of all rows before each epoch. Rows are still mixed.

There are two ways to do so. By the static one (M-DYR-H, or M-DYR-S with `bootstrap` set to 'soft') a batch
has one mixing share, and p is the most probable class or the probabilities. By the dynamic one (MD-DYR-SH)
rows are mixed in proportion to 1 - w, with equal weights for both targets, and p sharpens from probabilities
to the most probable class. The authors use it where most labels are wrong; `dynamic` says from which noise
rate on.

As in the authors' code, the mixture is fitted to losses under random views, in evaluation mode, and w is that
of the row's present view. They fit it after every epoch; here before the epochs that use it, which is the
same. Their soft variant takes ten classes for granted in the penalty on the mean prediction, here it has the
classes of the data. Mixing shares above and below one half make the same batches, as partners are drawn
anew: those here are at least one half.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, by_noise, register
from dmlp_jax.retrain.methods import beta_mixture, losses, mixing
from dmlp_jax.retrain.methods.beta_mixture import LossModel
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import dispatch, inference, learning_rates
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer

_COLDEST = 1e-3  # temperature at which probabilities count as the most probable class


class MCorrectionState(NamedTuple):
    """Attributes: `network`, the training state; `model`, of the losses before the epoch."""

    network: TrainState
    model: LossModel


@register("m_correction")
def make_m_correction(settings: ConfigDict, task: Task) -> Method:
    """M-correction with `correct_start`, `bootstrap`, `dynamic`, `mixup` and others; see recipes.

    Args:
        settings: the `retrain` settings.
        task: number of classes, steps per epoch, pretrained encoder.

    Raises:
        UserError: `bootstrap` is neither hard nor soft, or a share is out of range.
    """
    if settings.bootstrap not in ("hard", "soft"):
        raise UserError(f"recipes.m_correction.bootstrap is {settings.bootstrap!r}; it must be hard or soft")
    names = ("correct_start", "guided_share", "cooling_share")
    for name in names:
        if not 0 <= settings[name] <= 1:
            raise UserError(f"recipes.m_correction.{name} is {settings[name]}; it must lie in [0, 1]")
    start, guided, cooling = (round(settings[name] * settings.epochs) for name in names)
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MCorrectionState:
        return MCorrectionState(network.init(key, train.inputs), beta_mixture.undecided())

    def train_step(
        state: MCorrectionState, batch: Batch, *, axis_name: str | None
    ) -> tuple[MCorrectionState, dict]:
        corrects = "corrected" in batch.data
        ((inputs, targets),) = ((part["inputs"], part["targets"]) for part in batch.data.values())
        views, before = policy(batch.keys, augment.to_float(inputs)), state.network
        mix_key, own_key, drop_key = jax.random.split(batch.key, 3)
        mix = mixing.draw(mix_key, 1, len(targets), settings.mixup, axis_name)
        goals, weights, stats, penalty, metrics = targets, mix, before.batch_stats, 0.0, {}
        if corrects:
            info = batch.info
            own, stats = network.train_logits(before.params, stats, views, own_key, axis_name)
            calm = network.logits(before._replace(batch_stats=stats), views)
            wrong = beta_mixture.wrong_probability(state.model, losses.cross_entropy(calm, targets))
            goals = bootstrapped(targets, wrong * info["bootstraps"], own, info["temperature"])
            by_trust = trusting(mix, 1.0 - wrong, axis_name)
            even = jnp.where(info["dynamic"] * info["bootstraps"] > 0, 0.5, mix.share)
            weights = mix._replace(share=even)
            mix = mix._replace(share=jnp.where(info["dynamic"] > 0, by_trust, mix.share))
            penalty = settings.prior_weight * info["bootstraps"]
            metrics = {"wrong": jnp.mean(wrong)}
        mixed = mixing.apply(mix, views[None], axis_name)[0]
        goals = mixing.apply(weights, goals[None], axis_name)[0]

        def loss_fn(params):
            logits, seen = network.train_logits(params, stats, mixed, drop_key, axis_name)
            loss = jnp.mean(losses.cross_entropy(logits, goals))
            return loss + penalty * losses.uneven_classes(logits, axis_name), (logits, seen)

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
        metrics |= {"loss": loss, "train_accuracy": agreement(logits, targets)}
        after = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
        return state._replace(network=after), metrics

    def predict(state: MCorrectionState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: MCorrectionState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        del rows
        logits = network.logits(state.network, inputs)
        wrong = beta_mixture.wrong_probability(state.model, losses.cross_entropy(logits, targets))
        return bootstrapped(targets, wrong, logits, 0.0)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        rows = len(train.inputs)
        dynamic = by_noise("recipes.m_correction.dynamic", settings.dynamic, train.noise_rate) > 0

        def costs(state, inputs, targets, numbers):
            trained, key = state
            keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
            logits = network.logits(trained, policy(keys, augment.to_float(inputs)))
            return losses.cross_entropy(logits, targets)

        arrays = (train.inputs, train.targets, np.arange(rows, dtype=np.int32))
        evaluate = inference.over_rows(costs, arrays, devices)

        def plan(state: MCorrectionState, epoch: int, key: jax.Array) -> tuple[MCorrectionState, Plan]:
            order_key, view_key = jax.random.split(key)
            order = dispatch.shuffled(rows, settings.batch_size, order_key).indices
            if epoch < start:
                return state, Plan({"given": order})
            state = state._replace(model=beta_mixture.fit(evaluate((state.network, view_key))))
            since = epoch - start - (guided if dynamic else 0)
            temperature = float(settings.bootstrap == "soft")
            if dynamic:
                temperature = 1.0 - (1.0 - _COLDEST) * min(max(since, 0) / max(cooling, 1), 1.0)
            info = {"dynamic": dynamic, "bootstraps": since >= 0, "temperature": temperature}
            return state, Plan(
                {"corrected": order},
                {name: np.full(len(order), value, np.float32) for name, value in info.items()},
            )

        return plan

    return Method(init, train_step, predict, make_planner, correct, alike_from=start)


def bootstrapped(
    targets: jax.Array, wrong: jax.Array, logits: jax.Array, temperature: jax.Array | float
) -> jax.Array:
    """Targets (1 - w) y + w softmax(z / T), [b, c]; at T = 0 the most probable class.

    Args:
        targets: labels y [b, c].
        wrong: probability w that each label is wrong [b].
        logits: the network's own logits z [b, c]; no gradient flows through them.
        temperature: T, scalar.
    """
    logits = jax.lax.stop_gradient(logits)
    hard = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1])
    soft = jax.nn.softmax(logits / jnp.maximum(temperature, _COLDEST))
    own = jnp.where(jnp.asarray(temperature) > 0, soft, hard)
    return (1.0 - wrong[:, None]) * targets + wrong[:, None] * own


def trusting(mix: mixing.Mix, trust: jax.Array, axis_name: str | None) -> jax.Array:
    """Share of each row in its mixture, t / (t + t of its partner), [1, b].

    Args:
        mix: the partners.
        trust: t, the probability that each label is right [b].
        axis_name: pmap axis.
    """
    partner = mixing.apply(mix._replace(share=jnp.zeros(())), trust[None], axis_name)
    return trust / (trust + partner)
