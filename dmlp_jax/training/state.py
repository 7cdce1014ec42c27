"""Training state and optimisers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError


class TrainState(NamedTuple):
    """State of one network, a pytree of arrays.

    Attributes:
        params: parameters.
        batch_stats: running statistics of batch norm.
        opt_state: of the optimiser.
    """

    params: Any
    batch_stats: Any
    opt_state: optax.OptState


def init_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """The state of a network whose linen variables are `variables`."""
    params = variables["params"]
    return TrainState(params, variables.get("batch_stats", {}), optimizer.init(params))


def apply_gradients(
    state: TrainState,
    grads: Any,
    batch_stats: Any,
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
) -> TrainState:
    """One optimiser step on the gradients' mean over `axis_name` (None: a single device)."""
    if axis_name is not None:
        grads = jax.lax.pmean(grads, axis_name)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    return TrainState(optax.apply_updates(state.params, updates), batch_stats, opt_state)


def make_optimizer(settings: ConfigDict, steps_per_epoch: int) -> optax.GradientTransformation:
    """The optimiser of a stage: linear warm-up, then cosine to 0; no decay on biases and batch norm.

    Args:
        settings: with optimizer, lr, weight_decay, momentum, warmup_epochs and epochs.
        steps_per_epoch: optimiser steps in an epoch.

    Raises:
        UserError: an unknown optimiser.
    """
    total = max(1, settings.epochs * steps_per_epoch)
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), total - 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0 if warmup else settings.lr, settings.lr, warmup, total)
    decay, momentum = settings.weight_decay, settings.momentum
    if settings.optimizer == "adamw":
        return optax.adamw(schedule, weight_decay=decay, mask=_matrices)
    if settings.optimizer == "sgd":
        return optax.chain(
            optax.add_decayed_weights(decay, _matrices),
            optax.sgd(schedule, momentum, nesterov=True),
        )
    if settings.optimizer == "lars":
        return optax.lars(
            schedule,
            decay,
            weight_decay_mask=_matrices,
            trust_ratio_mask=_matrices,
            momentum=momentum,
        )
    raise UserError(f"optimizer is {settings.optimizer!r}; it must be adamw, sgd or lars")


def _matrices(params: Any) -> Any:
    """True for kernels, False for biases and batch norm's scales."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)
