"""Implements IEG (Zhang et al., "Distilling effective supervision from severe label noise", CVPR 2020).

A row has a plain view x and a strong view a. Its guessed label g is the sharpened mean of both predictions,
and a step of the network minimises the sum of

- 1/2 mean CE(x; e_i y + (1 - e_i) g) + 1/2 sum_i w_i CE(x; e y + (1 - e) g), with e = .9,
- the cross-entropy of mixed rows: clean ones with true labels, and x and a with g, these two
  `unlabelled_weight` times,
- `consistency_weight` KL(p(x) || p(a)), with no gradient through p(x).

The row weights w_i and the choice e_i between given and guessed label come from the clean rows' loss V after
a look-ahead step on the mean of CE(x; e y + (1 - e) g): w_i is proportional to max(0, -dV/dw_i), and e_i is
1 where dV/de_i < 0, else 0. The look-ahead has the optimiser's momentum and decay, at a rate of its own.
Guesses and mixed rows take logits divided by their root mean square over the batch. Predictions are those of
a weight average, whose decay rises to `ema`, with the network's running statistics.

The authors' code is followed (google-research/ieg), with these differences. No gradient flows through guesses
in the look-ahead, as in the rest of their code. Shares of mixtures are drawn from Beta(.5, .5), which the
code approximates. The clean rows to mix are the step's, not drawn from them once more. Running statistics are
those of the plain view alone. V's decay does not apply to biases and batch norm. Their strong view has a
cutout after AutoAugment.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.coupled import l2r, lookahead, meta_set
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Needs, Task, TrainingSet, register
from dmlp_jax.retrain.methods import losses, mixing, mixmatch
from dmlp_jax.retrain.methods.average import averaged
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, apply_gradients, make_optimizer, matrices


class IEGState(NamedTuple):
    """Attributes: `network`; `average`, of its parameters; `steps`, the number of steps, int32 scalar."""

    network: TrainState
    average: Any
    steps: jax.Array


@register("ieg", Needs(images=True))
def make_ieg(settings: ConfigDict, task: Task) -> Method:
    """IEG; its constants are in `recipes_lookahead`.

    Raises:
        UserError: no clean rows, or an optimiser whose step cannot be looked through.
    """
    meta_set.check(settings)
    meta_set.check_optimizer(settings)
    if not 0 <= settings.ema < 1 or not 0 < settings.given_share < 1:
        raise UserError(
            f"recipes.ieg.ema is {settings.ema} and recipes.ieg.given_share {settings.given_share}; the "
            "first must lie in [0, 1), the second in (0, 1)"
        )
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    ahead = make_optimizer(settings, lambda epoch: jnp.float32(settings.lookahead_lr))
    decay = optax.add_decayed_weights(settings.weight_decay, matrices)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)
    strong = augment.make(settings.strong_augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> IEGState:
        meta_set.noisy_rows(train, settings)
        state = network.init(key, train.inputs)
        return IEGState(state, state.params, jnp.zeros((), jnp.int32))

    def train_step(state: IEGState, batch: Batch, *, axis_name: str | None) -> tuple[IEGState, dict]:
        rows, before = meta_set.views(policy, batch), state.network
        plain, clean = rows["train"], rows["meta"]
        strong_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(batch.keys, 2)
        hidden = strong(strong_keys, augment.to_float(batch.data["train"]["inputs"]))
        keys = jax.random.split(batch.key, 5)

        def look(inputs, key):
            return TrainingPass(network, before, inputs, key, axis_name)

        done, other = look(plain.inputs, keys[0]), look(hidden, keys[1])
        guesses = guess([done.logits, other.logits], settings.sharpen, axis_name)
        blended = settings.given_share * plain.targets + (1.0 - settings.given_share) * guesses

        _, grads = done.gradient(blended)

        def step(grads):
            after = apply_gradients(before, grads, done.batch_stats, ahead, None, epoch=batch.epoch)
            return after.params

        after, pull = jax.vjp(step, grads)
        meta_loss, judged = done.clean_gradient(after, clean, keys[2])
        judged, _ = decay.update(judged, decay.init(after), after)
        slopes = done.target_slopes(pull(judged)[0])
        weights = l2r.normalized(-jnp.sum(slopes * blended, axis=-1), axis_name)
        kept = jnp.sum(slopes * (plain.targets - guesses), axis=-1) < 0
        chosen = jnp.where(kept[:, None], plain.targets, guesses)

        mix = mixing.draw(keys[3], 3, len(guesses), settings.mixup, axis_name, per_row=True)
        mixed = mixing.apply(mix, jnp.stack([clean.inputs, plain.inputs, hidden]), axis_name)
        goals = mixing.apply(mix, jnp.stack([clean.targets, guesses, guesses]), axis_name)
        parts = [
            done.gradient((chosen + weights[:, None] * blended) / 2),
            other.gradient_of(
                lambda logits: (
                    settings.consistency_weight
                    * jnp.mean(optax.kl_divergence(jax.nn.log_softmax(logits), jax.nn.softmax(done.logits)))
                )
            ),
            look(mixed.reshape(-1, *mixed.shape[2:]), keys[4]).gradient_of(
                lambda logits: mixed_loss(logits, goals, settings.unlabelled_weight, axis_name)
            ),
        ]
        total = optax.tree.add(parts[0][1], optax.tree.add(parts[1][1], parts[2][1]))
        network_after = network.step(before, total, done.batch_stats, None, epoch=batch.epoch)
        steps = state.steps + 1
        keep = jnp.minimum(settings.ema, (1.0 + steps) / (10.0 + steps))
        metrics = {
            "loss": sum(value for value, _ in parts),
            "meta_loss": meta_loss,
            "kept": jnp.mean(kept.astype(jnp.float32)),
            "train_accuracy": agreement(done.logits, plain.targets),
        }
        return IEGState(network_after, averaged(state.average, network_after.params, keep), steps), metrics

    def predict(state: IEGState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network._replace(params=state.average), inputs))

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        return meta_set.make_planner(train, settings)

    return Method(init, train_step, predict, make_planner)


def normalized(logits: jax.Array, axis_name: str | None) -> jax.Array:
    """Logits [b, c] over their root mean square, of the rows of all devices and all classes."""
    square = lookahead.mean(jnp.mean(logits**2), axis_name)
    return logits * jax.lax.rsqrt(square + 1e-8)


def guess(views: list[jax.Array], temperature: float, axis_name: str | None) -> jax.Array:
    """The sharpened mean prediction [b, c] of the logits [b, c] of several views, each normalised."""
    return mixmatch.co_guess(jnp.stack([normalized(logits, axis_name) for logits in views]), temperature)


def mixed_loss(
    logits: jax.Array, goals: jax.Array, unlabelled_weight: float, axis_name: str | None
) -> jax.Array:
    """Mean cross-entropy of the first group and `unlabelled_weight` times that of the other two, scalar.

    Args:
        logits: of all groups [3 * b, c]; each group is normalised alone.
        goals: mixed labels [3, b, c].
        unlabelled_weight: weight of the second and third group.
        axis_name: pmap axis.
    """
    groups = logits.reshape(goals.shape)
    first, *others = (
        jnp.mean(losses.cross_entropy(normalized(group, axis_name), goal))
        for group, goal in zip(groups, goals, strict=True)
    )
    return first + unlabelled_weight * sum(others) / len(others)
