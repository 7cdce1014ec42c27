"""Runs one epoch of the paper's schedule: IPC and EAC steps by slices; periodic label write (Eq. 9).

A slice holds the rows of one classifier step, a batch the slices of one ridge solve. Labels and
classifiers are class-major, [c, rows] and [c, d + 1], so that the two products of a slice need no transposes.
"""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import HIGHEST, matmul
from dmlp_jax.purifier.paper import eac, ipc
from dmlp_jax.purifier.paper.config import PaperConfig

if TYPE_CHECKING:
    import optax


class Batch(NamedTuple):
    """The rows of one ridge solve, in slices; or all batches, leaves [batches, ...].

    Attributes:
        features: with a constant column, [slices, b, d + 1].
        weight: row weights [slices, b]; padding has 0.
        inverse: inverse of Eq. 5 without the constant column, whose row and column are 0, [d + 1, d + 1].
    """

    features: jax.Array
    weight: jax.Array
    inverse: jax.Array


class State(NamedTuple):
    """Labels, classifiers and optimisers between two epochs.

    Attributes:
        labels: class-major [batches, slices, c, b].
        label_optimizer: states of the optimiser, for the labels of every slice.
        moments: (F^T softmax(labels))^T of every batch, [batches, c, d + 1]; taken as the labels move, so
            that an epoch reads the features once.
        weights: weights of the classifiers, [members, c, d + 1].
        classifier_optimizer: state of Adam for every classifier.
    """

    labels: jax.Array
    label_optimizer: "optax.OptState"
    moments: jax.Array
    weights: jax.Array
    classifier_optimizer: "optax.OptState"


def run_epoch(
    state: State, batches: Batch, val: ipc.Validation, rate: jax.Array, config: PaperConfig
) -> tuple[State, jax.Array]:
    """One pass over the batches: an IPC step on a batch's labels and, slice by slice, classifier steps.

    Returns the state and the validation loss of each batch [batches], before its step.
    """
    num_batches, slices = batches.weight.shape[:2]
    every_slice = join_slices(batches.features)

    def body(classifiers, rows):
        index, inverse, weight, moment, labels, optimizer = rows
        loss, gradient = jax.value_and_grad(ipc.moment_loss)(moment.T, inverse, val, config.entropy_weight)
        step = partial(_slice_step, every_slice, gradient=gradient.T, rate=rate, config=config)
        (classifiers, moment), (labels, optimizer) = jax.lax.scan(
            step,
            (classifiers, jnp.zeros_like(moment)),
            (index * slices + jnp.arange(slices), weight, labels, optimizer),
        )
        return classifiers, (labels, optimizer, moment, loss)

    # Features are not scanned over: scan would copy each batch, and each slice once more.
    classifiers, (labels, label_states, sums, losses) = jax.lax.scan(
        body,
        (state.weights, state.classifier_optimizer),
        (
            jnp.arange(num_batches),
            batches.inverse,
            batches.weight,
            state.moments,
            state.labels,
            state.label_optimizer,
        ),
    )
    return State(labels, label_states, sums, *classifiers), losses


def _slice_step(
    every_slice: jax.Array, carry, rows, *, gradient: jax.Array, rate: jax.Array, config: PaperConfig
):
    """Moves a slice's labels down the gradient, then takes an Adam step of every classifier towards them.

    Args:
        every_slice: features of all slices [batches * slices, b, d + 1].
        carry: classifiers and their optimisers, and the moment [c, d + 1] of the slices before.
        rows: index of the slice, weights [b], labels [c, b] and the state of the labels' optimiser.
        gradient: gradient of the validation loss in the moment of the batch, [c, d + 1].
        rate: learning rate of the classifiers.
        config: the settings.

    Returns:
        The carry; the labels and the state of their optimiser.
    """
    (weights, optimizers), moment = carry
    index, weight, labels, optimizer = rows
    features = jax.lax.dynamic_index_in_dim(every_slice, index, keepdims=False)
    # Only two products with the rows: products this thin are bound by reading the rows.
    heads = jnp.concatenate([gradient[None], weights])
    scores = jnp.einsum("kcd,bd->kcb", heads, features, precision=HIGHEST)
    if config.ipc:
        through_softmax = jax.vjp(partial(jax.nn.softmax, axis=0), labels)[1]
        ascent = through_softmax(weight * scores[0])[0]
        direction, optimizer = label_optimizer(config).update(ascent, optimizer, labels)
        labels = labels - config.label_lr * direction
    classifier_gradient = jax.vmap(jax.grad(eac.classifier_loss), in_axes=(0, None, None, None))
    errors = classifier_gradient(
        scores[1:], ipc.to_simplex(labels, axis=0), weight, config.eac_entropy_weight
    )
    soft = weight * jax.nn.softmax(labels, axis=0)
    sums = jnp.einsum("kcb,bd->kcd", jnp.concatenate([soft[None], errors]), features, precision=HIGHEST)
    moved = jax.vmap(eac.adam_step, in_axes=(0, 0, 0, None))(weights, optimizers, sums[1:], rate)
    # Adam would move on by its momentum on a slice that is all padding.
    filled = jnp.any(weight > 0)
    classifiers = jax.tree.map(lambda new, old: jnp.where(filled, new, old), moved, (weights, optimizers))
    return (classifiers, moment + sums[0]), (labels, optimizer)


def write(state: State, batches: Batch, config: PaperConfig) -> State:
    """Writes the mean of the classifiers' predictions into the labels (Eq. 9)."""

    def predict(rows):
        logits = jnp.einsum("kcd,sbd->kscb", state.weights, rows, precision=HIGHEST)
        return jnp.mean(jax.nn.softmax(logits, axis=2), axis=0)

    predictions = jax.lax.map(predict, batches.features)
    labels = eac.write_labels(state.labels, predictions, config.eac_momentum)
    return state._replace(labels=labels, moments=moments(labels, batches))


def label_optimizer(config: PaperConfig) -> "optax.GradientTransformation":
    """Plain gradient steps or the script's Adam, without the learning rate, which may be traced."""
    import optax  # Only this preset needs it, and it takes a while to load.

    if config.label_optimizer == "adam":
        return optax.chain(optax.add_decayed_weights(3e-4), optax.scale_by_adam(b1=0.5, b2=0.999))
    return optax.identity()


def moments(labels: jax.Array, batches: Batch) -> jax.Array:
    """The `_moment` of every batch, [batches, c, d + 1]."""

    def moment(rows):
        labels, batch = rows
        return _moment(jnp.moveaxis(labels, 1, 0).reshape(labels.shape[1], -1), *map(join_slices, batch[:2]))

    return jax.lax.map(moment, (labels, batches))


def _moment(labels: jax.Array, features: jax.Array, weight: jax.Array) -> jax.Array:
    """softmax(labels) diag(weight) F [c, d] for labels [c, b] and features [b, d]."""
    soft = weight * jax.nn.softmax(labels, axis=0)
    return matmul(soft, features)


def join_slices(slices: jax.Array) -> jax.Array:
    """Slices [slices, b, ...] one after the other, [slices * b, ...]."""
    return slices.reshape(-1, *slices.shape[2:])
