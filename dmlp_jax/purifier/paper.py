"""The paper's own schedule, Eq. 4-9 as printed: softmaxed labels, batches, Adam, a periodic label write.

Kept as a reference to compare with. Where the paper is silent the authors' script decides (batches of 7,000
and 500 rows, Adam's learning rates, a write every 20 epochs); where the two disagree the paper does
(softmax on the labels, a ridge term, entropy that sharpens, a label write that fires). Features are used as
given, with a constant column for the classifier only.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dmlp_jax.purifier import eac, ipc, ridge
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import HIGHEST, RidgeFactor


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
    """Rows of one ridge solve in slices of one classifier step, or all batches [batches, ...].

    Attributes:
        features: with a constant column, [slices, b, d + 1].
        weight: row weights [slices, b]; padding has 0.
        ridge: for the rows without the constant column: in the inverse its row and column are 0.
    """

    features: jax.Array
    weight: jax.Array
    ridge: RidgeFactor


class _State(NamedTuple):
    """What an epoch leaves to the next.

    Attributes:
        labels: class-major [batches, slices, c, b].
        label_optimizer: for the labels of every slice.
        moments: F^T softmax(labels) of every batch, [batches, d + 1, c]; taken as the labels move, so that an
            epoch reads the features once.
        weights: of the classifiers, [members, d + 1, c].
        classifier_optimizer: for every member.
    """

    labels: jax.Array
    label_optimizer: optax.OptState
    moments: jax.Array
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
        return rows.reshape(num_batches, slices, slice_size, *rows.shape[1:])

    def join(labels):
        return jnp.moveaxis(labels, 2, 3).reshape(-1, classes)[:count]

    def factor(batch):
        rows, row_weight = map(_join, batch)
        inverse = ridge.factor(ridge.gram(rows[:, :-1], row_weight), config.ridge_penalty).inverse
        return RidgeFactor(jnp.pad(inverse, (0, 1)))

    xs, ws, labels_given = split(_with_bias(features)), split(weight), jnp.moveaxis(split(given), 3, 2)
    batches = _Batch(xs, ws, jax.lax.map(factor, (xs, ws)))
    weights = jax.vmap(_init_classifier, in_axes=(0, None, None))(
        jax.random.split(key, config.num_members), width, classes
    )
    state = _State(
        labels_given,
        jax.vmap(jax.vmap(_label_optimizer(config).init))(labels_given),
        _moments(labels_given, batches),
        weights,
        jax.vmap(eac.adam().init)(weights),
    )
    val = ipc.Validation(_with_bias(val_features), val_targets, jnp.ones_like(val_targets[:, 0]))

    def epoch(state, index):
        # The authors' script keeps the first rate for epochs 0 to 3.
        rate = config.eac_lr * jnp.where(index > 3, config.eac_lr_drop, 1.0)
        state, losses = _epoch(state, batches, val, rate, config)
        if config.eac:
            write = (index > 0) & (index % config.eac_period == 0)
            state = jax.lax.cond(write, _write, lambda state, *_: state, state, batches, config)
        kept = jnp.argmax(state.labels, axis=2) == jnp.argmax(labels_given, axis=2)
        history = {
            "val_loss": jnp.mean(losses),
            "changed": 1.0 - jnp.sum(kept * ws) / jnp.sum(ws),
        }
        if config.keep_label_history:
            hard = jnp.argmax(state.labels, axis=2).reshape(-1)[:count]
            history["labels"] = hard.astype(jnp.uint8 if classes <= 256 else jnp.int32)
        return state, history

    state, history = jax.lax.scan(epoch, state, jnp.arange(config.steps, dtype=jnp.int32))
    return Result(join(state.labels), state.weights, history)


def _init_classifier(key: jax.Array, width: int, classes: int) -> jax.Array:
    """Uniform within 1 / sqrt(d), the bias row included: the linear layer of the authors' framework."""
    bound = 1.0 / width**0.5
    return jax.random.uniform(key, (width + 1, classes), jnp.float32, minval=-bound, maxval=bound)


def _with_bias(features: jax.Array) -> jax.Array:
    return jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)


def _label_optimizer(config: PurifyConfig) -> optax.GradientTransformation:
    """Plain gradient steps or the script's Adam, without their learning rate, which may be traced."""
    if config.label_optimizer == "adam":
        return optax.chain(optax.add_decayed_weights(3e-4), optax.scale_by_adam(b1=0.5, b2=0.999))
    return optax.identity()


def _moments(labels: jax.Array, batches: _Batch) -> jax.Array:
    """F^T softmax(labels) of every batch, [batches, d + 1, c]."""

    def moment(rows):
        labels, batch = rows
        return _moment(jnp.moveaxis(labels, 1, 0).reshape(labels.shape[1], -1), *map(_join, batch[:2]))

    return jax.lax.map(moment, (labels, batches))


def _moment(labels: jax.Array, features: jax.Array, weight: jax.Array) -> jax.Array:
    """F^T diag(weight) softmax(labels) [d, c] for labels [c, b] and features [b, d]."""
    soft = weight * jax.nn.softmax(labels, axis=0)
    return jnp.einsum("cb,bd->dc", soft, features, precision=HIGHEST)


def _join(slices: jax.Array) -> jax.Array:
    return slices.reshape(-1, *slices.shape[2:])


def _write(state: _State, batches: _Batch, config: PurifyConfig) -> _State:
    """After the classifiers have written the mean of their predictions into the labels (Eq. 9)."""

    def predict(rows):
        logits = jnp.einsum("kdc,sbd->kscb", state.weights, rows, precision=HIGHEST)
        return jnp.mean(jax.nn.softmax(logits, axis=2), axis=0)

    predictions = jax.lax.map(predict, batches.features)
    labels = eac.write_labels(state.labels, predictions, config.eac_momentum)
    return state._replace(labels=labels, moments=_moments(labels, batches))


def _epoch(
    state: _State, batches: _Batch, val: ipc.Validation, rate: jax.Array, config: PurifyConfig
) -> tuple[_State, jax.Array]:
    """One pass over the batches: an IPC step on a batch's labels and, slice by slice, classifier steps.

    Returns the state and the validation loss of each batch [batches], before its step.
    """

    def body(classifiers, rows):
        batch, moment, labels, optimizer = rows
        loss, gradient = jax.value_and_grad(ipc.moment_loss)(moment, batch.ridge, val, config.entropy_weight)
        carry = classifiers, jnp.zeros_like(moment)
        rows = batch.features, batch.weight, labels, optimizer
        step = partial(_slice_step, gradient=gradient, rate=rate, config=config)
        (classifiers, moment), (labels, optimizer) = jax.lax.scan(step, carry, rows)
        return classifiers, (labels, optimizer, moment, loss)

    classifiers, (labels, label_optimizer, moments, losses) = jax.lax.scan(
        body,
        (state.weights, state.classifier_optimizer),
        (batches, state.moments, state.labels, state.label_optimizer),
    )
    return _State(labels, label_optimizer, moments, *classifiers), losses


def _slice_step(carry, rows, gradient: jax.Array, rate: jax.Array, config: PurifyConfig):
    """The labels of a slice down the gradient, then an Adam step of every classifier towards them.

    Args:
        carry: classifiers and their optimisers, and the moment [d + 1, c] of the slices before.
        rows: features [b, d + 1], weights [b], labels [c, b] and the state of the labels' optimiser.
        gradient: of the validation loss in the moment of the batch [d + 1, c].
        rate: learning rate of the classifiers.
        config: the settings.

    Returns:
        The carry; the labels and the state of their optimiser.
    """
    classifiers, moment = carry
    features, weight, labels, optimizer = rows
    if config.ipc:
        through_softmax = jax.vjp(partial(jax.nn.softmax, axis=0), labels)[1]
        ascent = through_softmax(weight * jnp.einsum("dc,bd->cb", gradient, features, precision=HIGHEST))[0]
        direction, optimizer = _label_optimizer(config).update(ascent, optimizer, labels)
        labels = labels - config.label_lr * direction
    update = jax.vmap(eac.adam_step, in_axes=(0, 0, None, None, None, None, None))
    targets = ipc.to_simplex(labels, axis=0)
    moved = update(classifiers[0], classifiers[1], features, targets, weight, rate, config.eac_entropy_weight)
    # Adam would move on by its momentum on a slice that is all padding.
    filled = jnp.any(weight > 0)
    classifiers = jax.tree.map(lambda new, old: jnp.where(filled, new, old), moved, classifiers)
    return (classifiers, moment + _moment(labels, features, weight)), (labels, optimizer)
