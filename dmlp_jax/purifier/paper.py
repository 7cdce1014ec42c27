"""The paper's own schedule, Eq. 4-9 as printed: softmaxed labels, batches, Adam, a periodic label write.

Kept as a reference to compare with. Where the paper is silent the authors' script decides (batches of 7,000
and 500 rows, Adam's learning rates, a write every 20 epochs); where the two disagree the paper does
(softmax on the labels, a ridge term, entropy that sharpens, a label write that fires). Features are used as
given, with a constant column for the classifier only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dmlp_jax.purifier import eac, ipc, ridge
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import RidgeFactor, matmul


class Result(NamedTuple):
    """What the schedule leaves.

    Attributes:
        labels: [n, c], not on the simplex.
        weights: of each classifier, [members, d + 1, c].
        history: arrays [steps].
    """

    labels: jax.Array
    weights: jax.Array
    history: dict[str, jax.Array]


class _Batch(NamedTuple):
    """Rows [b, ...] of one ridge solve, or all batches [batches, b, ...]; padding has weight 0."""

    features: jax.Array
    weight: jax.Array
    ridge: RidgeFactor


class _State(NamedTuple):
    """Labels [batches, b, c], classifiers [members, d + 1, c] and the states of their optimisers."""

    labels: jax.Array
    label_optimizer: optax.OptState
    weights: jax.Array
    classifier_optimizer: optax.OptState


def run(
    features: jax.Array,
    given: jax.Array,
    weight: jax.Array,
    val_features: jax.Array,
    val_targets: jax.Array,
    config: PurifyConfig,
    key: jax.Array,
) -> Result:
    """Runs `config.steps` epochs over the training rows, in their order.

    Args:
        features: [n, d].
        given: given labels as distributions [n, c], where the labels start.
        weight: row weights [n].
        val_features: [m, d].
        val_targets: one-hot [m, c].
        config: the settings, usually `PurifyConfig.paper()`.
        key: draws the classifiers' starts.
    """
    (count, width), classes = features.shape, given.shape[1]
    slice_size = min(config.eac_batch_size, count)
    slices = -(-min(config.ipc_batch_size, count) // slice_size)
    num_batches = -(-count // (slices * slice_size))

    def split(rows):
        missing = num_batches * slices * slice_size - count
        rows = jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
        return rows.reshape(num_batches, slices * slice_size, *rows.shape[1:])

    def factor(rows):
        return ridge.factor(ridge.gram(*rows), config.ridge_penalty)

    xs, ws, labels = split(features), split(weight), split(given)
    batches = _Batch(xs, ws, jax.lax.map(factor, (xs, ws)))
    weights = jax.vmap(_init_classifier, in_axes=(0, None, None))(
        jax.random.split(key, config.num_members), width, classes
    )
    state = _State(
        labels,
        jax.vmap(_label_optimizer(config).init)(labels),
        weights,
        jax.vmap(eac.adam().init)(weights),
    )
    val = ipc.Validation(val_features, val_targets, jnp.ones_like(val_targets[:, 0]))

    def epoch(state, index):
        # The authors' script keeps the first rate for epochs 0 to 3.
        rate = config.eac_lr * jnp.where(index > 3, config.eac_lr_drop, 1.0)
        state, losses = _epoch(state, batches, val, rate, slices, config)
        if config.eac:
            predictions = jax.lax.map(lambda rows: _predict(state.weights, rows), batches.features)
            written = eac.write_labels(state.labels, predictions, config.eac_momentum)
            write = (index > 0) & (index % config.eac_period == 0)
            state = state._replace(labels=jnp.where(write, written, state.labels))
        hard = jnp.argmax(state.labels.reshape(-1, classes)[:count], axis=-1)
        changed = hard != jnp.argmax(given, axis=-1)
        history = {
            "val_loss": jnp.mean(losses),
            "changed": jnp.sum(changed * weight) / jnp.sum(weight),
        }
        if config.keep_label_history:
            history["labels"] = hard.astype(jnp.uint8 if classes <= 256 else jnp.int32)
        return state, history

    state, history = jax.lax.scan(epoch, state, jnp.arange(config.steps, dtype=jnp.int32))
    return Result(state.labels.reshape(-1, classes)[:count], state.weights, history)


def _init_classifier(key: jax.Array, width: int, classes: int) -> jax.Array:
    """Uniform within 1 / sqrt(d), the bias row included: the linear layer of the authors' framework."""
    bound = 1.0 / width**0.5
    return jax.random.uniform(key, (width + 1, classes), jnp.float32, minval=-bound, maxval=bound)


def _with_bias(features: jax.Array) -> jax.Array:
    return jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)


def _predict(weights: jax.Array, features: jax.Array) -> jax.Array:
    """Mean of the members' predictions, [b, c]."""
    return jnp.mean(jax.nn.softmax(matmul(_with_bias(features), weights)), axis=0)


def _label_optimizer(config: PurifyConfig) -> optax.GradientTransformation:
    """Plain gradient steps or the script's Adam, without their learning rate, which may be traced."""
    if config.label_optimizer == "adam":
        return optax.chain(optax.add_decayed_weights(3e-4), optax.scale_by_adam(b1=0.5, b2=0.999))
    return optax.identity()


def _epoch(
    state: _State,
    batches: _Batch,
    val: ipc.Validation,
    rate: jax.Array,
    slices: int,
    config: PurifyConfig,
) -> tuple[_State, jax.Array]:
    """One pass over the batches: an IPC step on a batch's labels, then classifier steps on its slices.

    Returns the state and the validation loss of each batch [batches], before its step.
    """

    def loss(labels, batch):
        soft = jax.nn.softmax(labels)
        return ipc.label_loss(soft, batch.features, batch.weight, batch.ridge, val, config.entropy_weight)

    def body(classifiers, rows):
        batch, labels, optimizer = rows
        value, gradient = jax.value_and_grad(loss)(labels, batch)
        if config.ipc:
            direction, optimizer = _label_optimizer(config).update(gradient, optimizer, labels)
            labels = labels - config.label_lr * direction
        classifiers = _train_classifiers(classifiers, batch, labels, rate, slices, config)
        return classifiers, (labels, optimizer, value)

    (weights, classifier_optimizer), (labels, label_optimizer, losses) = jax.lax.scan(
        body,
        (state.weights, state.classifier_optimizer),
        (batches, state.labels, state.label_optimizer),
    )
    return _State(labels, label_optimizer, weights, classifier_optimizer), losses


def _train_classifiers(
    classifiers: tuple[jax.Array, optax.OptState],
    batch: _Batch,
    labels: jax.Array,
    rate: jax.Array,
    slices: int,
    config: PurifyConfig,
) -> tuple[jax.Array, optax.OptState]:
    """Adam steps of every member over the slices of a batch, towards labels [b, c] put on the simplex."""
    update = jax.vmap(eac.adam_step, in_axes=(0, 0, None, None, None, None, None))

    def body(classifiers, rows):
        features, targets, weight = rows
        moved = update(*classifiers, features, targets, weight, rate, config.eac_entropy_weight)
        # Adam would move on by its momentum on a slice that is all padding.
        filled = jnp.any(weight > 0)
        return jax.tree.map(lambda new, old: jnp.where(filled, new, old), moved, classifiers), None

    rows = (_with_bias(batch.features), ipc.to_simplex(labels), batch.weight)
    rows = jax.tree.map(lambda x: x.reshape(slices, -1, *x.shape[1:]), rows)
    return jax.lax.scan(body, classifiers, rows)[0]
