"""Defines the training state of a network and builds the optimisers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.training.learning_rates import Schedule


class TrainState(NamedTuple):
    """State of one network, a pytree of arrays.

    Attributes:
        params: parameters.
        batch_stats: running statistics of batch norm.
        opt_state: state of the optimiser.
    """

    params: Any
    batch_stats: Any
    opt_state: optax.OptState


def init_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """Initial training state of a network with these linen variables."""
    params = variables["params"]
    return TrainState(params, variables.get("batch_stats", {}), optimizer.init(params))


def apply_gradients(
    state: TrainState,
    grads: Any,
    batch_stats: Any,
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
    **extra: Any,
) -> TrainState:
    """Takes one optimiser step with the gradients averaged over `axis_name`.

    Args:
        state: state before the step.
        grads: gradients of the parameters.
        batch_stats: running statistics after the step.
        optimizer: see `make_optimizer`.
        axis_name: pmap axis; None on a single device.
        **extra: further arguments of the optimiser's `update`, such as `epoch`.
    """
    if axis_name is not None:
        grads = jax.lax.pmean(grads, axis_name)
    update = optax.with_extra_args_support(optimizer).update
    updates, opt_state = update(grads, state.opt_state, state.params, **extra)
    return TrainState(optax.apply_updates(state.params, updates), batch_stats, opt_state)


def scale_by_epoch(schedule: Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by -schedule(epoch), where `epoch` is a keyword argument of `update`."""

    def update(updates, state, params=None, *, epoch, **_):
        del params
        rate = schedule(epoch)
        return jax.tree.map(lambda leaf: -rate * leaf, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def make_optimizer(settings: ConfigDict, schedule: Schedule) -> optax.GradientTransformationExtraArgs:
    """Builds the optimiser of a stage; its `update` needs the keyword argument `epoch`.

    Weight decay does not apply to biases and batch-norm parameters, unless `decay_all` says so: PyTorch's
    optimisers decay all parameters that they are given. For 'adam' it is part of the gradient.

    Args:
        settings: with optimizer, weight_decay and momentum, and perhaps decay_all.
        schedule: the learning rate as a function of the epoch.

    Raises:
        UserError: an unknown optimiser.
    """
    decayed = None if settings.get("decay_all", False) else matrices
    decay = optax.add_decayed_weights(settings.weight_decay, decayed)
    rate = scale_by_epoch(schedule)
    if settings.optimizer == "adam":
        return optax.chain(decay, optax.scale_by_adam(), rate)
    if settings.optimizer == "adamw":
        return optax.chain(optax.scale_by_adam(), decay, rate)
    if settings.optimizer == "sgd":
        return optax.chain(decay, optax.trace(settings.momentum, nesterov=True), rate)
    if settings.optimizer == "momentum":
        return optax.chain(decay, optax.trace(settings.momentum), rate)
    if settings.optimizer == "lars":
        trust = optax.masked(optax.scale_by_trust_ratio(trust_coefficient=0.001), matrices)
        return optax.chain(decay, trust, rate, optax.trace(settings.momentum))
    raise UserError(
        f"optimizer is {settings.optimizer!r}; it must be adam, adamw, sgd, momentum, lars or, "
        "for Co-teaching, adam_switch"
    )


def matrices(params: Any) -> Any:
    """Mask over parameters: True for kernels, False for biases and batch-norm scales."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)
