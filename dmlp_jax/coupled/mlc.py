"""Implements MLC (Zheng et al., AAAI 2021): a label correction network makes the classifier's targets.

The corrected label of a row is g(h(x), y'), with h the features of the classifier. A batch of clean rows is
split in two: one half joins the training rows, and g is trained on the loss of the other half after the step.

The authors' code is followed where it is more specific than the paper. Its meta gradient is exact for one
step; it adds the gradient of the previous steps, discounted by gamma = <(I - rate H) V', V> / |V|^2 with the
Hessian H replaced by the identity, and updates g every `gradient_steps` steps. The look-ahead is the step
that the classifier then takes, gradient descent with momentum and decay. There are three differences: running
statistics are those of the noisy rows' pass only, where the code's are of all four passes; there is no second
clean set for choosing the epoch; and clean rows are not among the noisy ones.

`mlc_decoupled` is the variant of the DMLP paper's Figure 2: the classifier is trained on the given labels for
`frozen_from` of the epochs, then its weights are fixed and only g is trained, by steps that are looked ahead
to and not taken.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.coupled import lookahead, meta_nets, meta_set
from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.coupled.meta_nets import LabelNet, MetaState
from dmlp_jax.coupled.meta_set import Rows
from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import TrainState, make_optimizer


class MLCState(NamedTuple):
    """State of both networks.

    Attributes:
        network: state of the classifier, which is trained on corrected labels.
        corrector: state of the label correction network g.
        pending: the meta gradient of the steps since g was last updated.
        steps: number of these steps, int32 scalar.
    """

    network: TrainState
    corrector: MetaState
    pending: Any
    steps: jax.Array


@register("mlc")
def make_mlc(settings: ConfigDict, task: Task) -> Method:
    """MLC with `meta_lr`, `label_embedding`, `label_width`, `label_skip` and `gradient_steps`."""
    return _make(settings, task, decoupled=False)


@register("mlc_decoupled")
def make_mlc_decoupled(settings: ConfigDict, task: Task) -> Method:
    """MLC on weights that are fixed from the share `frozen_from` of the epochs on.

    Raises:
        UserError: `frozen_from` is outside (0, 1), or another impossible setting.
    """
    if not 0 < settings.frozen_from < 1:
        raise UserError(
            f"recipes.mlc_decoupled.frozen_from is {settings.frozen_from}; this share of the epochs must lie "
            "between 0 and 1"
        )
    return _make(settings, task, decoupled=True)


def _make(settings: ConfigDict, task: Task, decoupled: bool) -> Method:
    meta_set.check(settings)
    meta_set.check_optimizer(settings)
    first = round(settings.frozen_from * settings.epochs) if decoupled else 0
    network = Network(settings, task, make_optimizer(settings, learning_rates.make(settings)))
    label_net = LabelNet(
        task.num_classes, settings.label_embedding, settings.label_width, settings.label_skip
    )
    meta_optimizer = meta_nets.amsgrad(settings.meta_lr)
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> MLCState:
        meta_set.noisy_rows(train, settings)
        network_key, label_key = jax.random.split(key)
        state = network.init(network_key, train.inputs)
        _, features = network.outputs(state, jnp.asarray(train.inputs[:2]))
        params = label_net.init(label_key, features, jnp.asarray(train.targets[:2]))["params"]
        corrector = meta_nets.init_meta(params, meta_optimizer)
        return MLCState(state, corrector, jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32))

    def relabel(params: Any, features: jax.Array, targets: jax.Array) -> Any:
        return label_net.apply({"params": params}, features, targets)

    def train_step(state: MLCState, batch: Batch, *, axis_name: str | None) -> tuple[MLCState, dict]:
        rows = meta_set.views(policy, batch)
        if "meta" not in rows:
            return plain_step(state, rows["train"], batch, axis_name)
        train, before = rows["train"], state.network
        if decoupled:
            # The momentum of the last step that was taken is no part of a step from fixed weights.
            before = before._replace(opt_state=network.optimizer.init(before.params))
        # Every second row, so that the halves do not depend on the number of devices.
        judge, joining = (Rows(*(part[half::2] for part in rows["meta"])) for half in (0, 1))
        noisy_key, joining_key, judge_key = jax.random.split(batch.key, 3)
        noisy = TrainingPass(network, before, train.inputs, noisy_key, axis_name)
        corrected, pull = jax.vjp(
            lambda params: relabel(params, noisy.features, train.targets), state.corrector.params
        )
        share = len(train.targets) / (len(train.targets) + len(joining.targets))
        noisy_loss, noisy_grads = noisy.gradient(corrected)
        joining_loss, joining_grads = TrainingPass(
            network, before, joining.inputs, joining_key, axis_name
        ).gradient(joining.targets)
        grads = jax.tree.map(lambda a, b: share * a + (1.0 - share) * b, noisy_grads, joining_grads)

        def ahead(grads):
            after = network.step(before, grads, noisy.batch_stats, None, epoch=batch.epoch)
            return after.params, after

        _, pull_step, after = jax.vjp(ahead, grads, has_aux=True)
        meta_loss, judged = noisy.clean_gradient(after.params, judge, judge_key)
        (direction,) = pull_step(judged)
        (meta_grads,) = pull(share * noisy.target_slopes(direction))
        meta_grads = lookahead.mean(meta_grads, axis_name)
        if settings.gradient_steps > 1:
            _, judged_before = noisy.clean_gradient(before.params, judge, judge_key)
            discount = _discount(judged, direction, judged_before)
            meta_grads = jax.tree.map(lambda new, old: new + discount * old, meta_grads, state.pending)
        due = state.steps + 1 >= settings.gradient_steps
        updated = meta_nets.update_meta(state.corrector, meta_grads, meta_optimizer)
        corrector = jax.tree.map(lambda new, old: jnp.where(due, new, old), updated, state.corrector)
        pending = lookahead.scaled(jnp.where(due, 0.0, 1.0), meta_grads)
        metrics = {
            "loss": share * noisy_loss + (1.0 - share) * joining_loss,
            "meta_loss": meta_loss,
            "train_accuracy": agreement(noisy.logits, train.targets),
        }
        kept = state.network if decoupled else after
        return MLCState(kept, corrector, pending, jnp.where(due, 0, state.steps + 1)), metrics

    def plain_step(
        state: MLCState, train: Rows, batch: Batch, axis_name: str | None
    ) -> tuple[MLCState, dict]:
        done = TrainingPass(network, state.network, train.inputs, batch.key, axis_name)
        loss, grads = done.gradient(train.targets)
        after = network.step(state.network, grads, done.batch_stats, None, epoch=batch.epoch)
        metrics = {"loss": loss, "train_accuracy": agreement(done.logits, train.targets)}
        return state._replace(network=after), metrics

    def predict(state: MLCState, inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(network.logits(state.network, inputs))

    def correct(state: MLCState, inputs: jax.Array, targets: jax.Array, rows: jax.Array) -> jax.Array:
        found = relabel(state.corrector.params, features(state, inputs), targets)
        # Before its first update g knows nothing.
        return jnp.where(state.corrector.opt_state.count > 0, found, targets) if decoupled else found

    def features(state: MLCState, inputs: jax.Array) -> jax.Array:
        return network.outputs(state.network, inputs)[1]

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        if settings.batch_size % (2 * len(devices)):
            raise UserError(
                f"retrain.batch_size is {settings.batch_size} on {len(devices)} devices; MLC splits the "
                f"clean rows of each in two, so choose a multiple of {2 * len(devices)}"
            )
        return meta_set.make_planner(train, settings, first)

    return Method(init, train_step, predict, make_planner, correct, alike_from=first, features=features)


def _discount(judged: Any, direction: Any, judged_before: Any) -> jax.Array:
    """Gamma, the discount of previous steps; with the Hessian as the identity (I - rate H) V' = V' + u."""
    carried = optax.tree.add(judged, direction)
    return optax.tree.vdot(carried, judged_before) / optax.tree.vdot(judged_before, judged_before)
