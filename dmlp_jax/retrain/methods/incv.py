"""Implements INCV (Chen et al., ICML 2019), which the DMLP paper calls Iterative-CV.

In each of `rounds` rounds the rows that are still candidates are split in two halves at random. A network,
which starts anew from the same weights, is trained on one half and all selected rows, and selects the rows of
the other half whose label it predicts; then the halves change places. Under symmetric noise the rows of
largest loss are discarded, r times as many as were selected. At last two fresh networks are trained on the
selected rows by Co-teaching, later with candidates among them.

The label noise rate e is estimated from the first half-round (`incv_rounds.estimate_rate`), and r is
min(2, e / (1 - e)). The weights that select are those of the best epoch on the other half in early rounds, of
the last epoch later. The authors' code (chenpf1025/noisy_label_understanding_utilizing) is followed, with
these differences. Clean rows, where there are any, are selected from the start. Adam starts anew with the
weights. Where r times the selected rows are none, none are discarded, not all. Batch statistics in
Co-teaching are those of all rows of a batch, not of the rows that are kept. The prediction is the mean of
both networks. Runs of few epochs have fewer rounds.
"""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Method, Task, TrainingSet, register
from dmlp_jax.retrain.methods import division, incv_rounds, losses
from dmlp_jax.retrain.methods.co_teaching import small_loss_weights
from dmlp_jax.retrain.methods.incv_rounds import CANDIDATE, SELECTED, INCVState
from dmlp_jax.retrain.methods.plain import agreement
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import inference, learning_rates, parallel
from dmlp_jax.training.dispatch import Batch, Plan
from dmlp_jax.training.loop import Planner
from dmlp_jax.training.state import make_optimizer


@register("incv")
def make_incv(settings: ConfigDict, task: Task) -> Method:
    """INCV; its constants are in `recipes_lookahead`.

    Raises:
        UserError: too few epochs for a round and Co-teaching.
    """
    phases = incv_rounds.plan_phases(settings)
    spent = settings.epochs - phases.first
    base = learning_rates.make(settings)

    def rate(epoch):
        teaching = stepwise(settings.teach_rates, (epoch - phases.first) / spent)
        selecting = stepwise(settings.select_rates, (epoch % phases.length) / phases.length)
        return base(epoch) * jnp.where(epoch < phases.first, selecting, teaching)

    network = Network(settings, task, make_optimizer(settings, rate))
    policy = augment.make(settings.augment, crop_size=settings.crop_size)

    def init(key: jax.Array, train: TrainingSet) -> INCVState:
        first, second = (network.init(k, train.inputs) for k in jax.random.split(key))
        rows = len(train.targets)
        clean = jnp.arange(rows) >= rows - train.num_clean
        return INCVState(
            (first, second),
            first,
            first,
            jnp.float32(-1.0),
            jnp.where(clean, SELECTED, CANDIDATE).astype(jnp.int32),
            jnp.zeros(rows, bool),
            jnp.zeros(rows, jnp.int32),
            jnp.float32(-1.0),
            jnp.zeros((), bool),
        )

    def train_step(state: INCVState, batch: Batch, *, axis_name: str | None) -> tuple[INCVState, dict]:
        ((part, rows),) = batch.data.items()
        inputs, targets = policy(batch.keys, augment.to_float(rows["inputs"])), rows["targets"]
        teaching = part != "select"
        if teaching:
            costs = [losses.cross_entropy(network.logits(one, inputs), targets) for one in state.networks]
            weights = [
                small_loss_weights(cost, jnp.ones(len(cost), bool), batch.info["keep"], axis_name)
                for cost in costs
            ][::-1]
        else:
            weights = [jnp.full(len(targets), 1 / len(targets))]
        networks, values, hits = list(state.networks), [], []
        for which, (weight, key) in enumerate(zip(weights, jax.random.split(batch.key), strict=False)):
            before = state.networks[which]

            def loss_fn(params, before=before, weight=weight, key=key):
                logits, stats = network.train_logits(params, before.batch_stats, inputs, key, axis_name)
                return jnp.sum(weight * losses.cross_entropy(logits, targets)), (logits, stats)

            (value, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(before.params)
            networks[which] = network.step(before, grads, stats, axis_name, epoch=batch.epoch)
            values.append(value)
            hits.append(agreement(logits, targets))
        metrics = {
            "loss": sum(values) / len(values),
            "train_accuracy": sum(hits) / len(hits),
            "selected": jnp.mean((state.status == SELECTED).astype(jnp.float32)),
        }
        return state._replace(networks=(networks[0], networks[1])), metrics

    def predict(state: INCVState, inputs: jax.Array) -> jax.Array:
        first, second = (jax.nn.softmax(network.logits(one, inputs)) for one in state.networks)
        return jnp.where(state.teaching, (first + second) / 2, first)

    def make_planner(train: TrainingSet, devices: list[jax.Device]) -> Planner:
        def judge(one, inputs, targets):
            logits = network.logits(one, inputs)
            hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
            return jnp.stack([losses.cross_entropy(logits, targets), hit.astype(jnp.float32)], axis=1)

        judged = inference.over_rows(judge, (train.inputs, train.targets), devices)
        total = parallel.total(devices)

        def plan_epoch(state: INCVState, epoch: int, key: jax.Array) -> tuple[INCVState, Plan]:
            split_key, order_key, more_key = jax.random.split(key, 3)
            if 0 < epoch <= phases.first:
                state = incv_rounds.judge(state, epoch, judged, phases, settings.symmetric, task.num_classes)
            if epoch < phases.first:
                if epoch % (2 * phases.length) == 0:
                    state = incv_rounds.split(state, split_key)
                rows = np.flatnonzero((np.asarray(state.status) == SELECTED) | incv_rounds.trained(state))
                size = settings.batch_size
                steps = max(1, len(rows) // size)
                return state, Plan({"select": division.batches(rows, steps, size, order_key)})
            keys = order_key, more_key
            plan = _teach(state, epoch, phases, settings, task.num_classes, total, keys)
            return state._replace(teaching=np.asarray(True)), plan

        return plan_epoch

    return Method(init, train_step, predict, make_planner, alike_from=phases.first)


def stepwise(pairs: tuple[tuple[float, float], ...], done: jax.Array) -> jax.Array:
    """The value of the last of the pairs (from this share on, value) that is reached, scalar."""
    starts, values = (jnp.array(column, jnp.float32) for column in zip(*pairs, strict=True))
    return values[jnp.maximum(jnp.sum(done >= starts - 1e-6) - 1, 0)]


def _teach(
    state: INCVState,
    epoch: int,
    phases: incv_rounds.Phases,
    settings: ConfigDict,
    num_classes: int,
    devices: int,
    keys: tuple[jax.Array, jax.Array],
) -> Plan:
    """An epoch of Co-teaching: batches of selected rows and, later, some candidates.

    Raises:
        UserError: no row was selected.
    """
    status, size = np.asarray(state.status), settings.batch_size
    chosen, others = (np.flatnonzero(status == kind) for kind in (SELECTED, CANDIDATE))
    if not len(chosen):
        raise UserError(
            "retrain.method incv found no row whose label a network that did not see it predicts; train it "
            "longer (--config.retrain.epochs), or lower --config.retrain.lr"
        )
    rate, done = float(state.rate), epoch - phases.first
    clean_share = 1 - incv_rounds.selected_rate(rate, num_classes, settings.symmetric) * min(
        1.0, done / settings.forget_epochs
    )
    kept = max(1, round(size * clean_share))
    steps = max(1, len(chosen) // size)
    rows = division.batches(chosen, steps, size, keys[0])
    start = settings.candidates_start * (2 if incv_rounds.late(rate, settings.symmetric) else 1)
    more = min(len(others) * size // len(chosen), size // 2) // devices * devices
    if more and done > start * (settings.epochs - phases.first):
        rows = np.concatenate([rows, division.batches(others, steps, more, keys[1])], axis=1)
    keep = np.full(steps, kept / rows.shape[1], np.float32)
    return Plan({"teach": rows}, {"keep": keep})
