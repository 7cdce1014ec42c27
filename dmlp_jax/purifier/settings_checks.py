"""Checks of the settings and the key that `purify` is given, as `checks.py` has them for its arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.checks import is_traced
from dmlp_jax.purifier.config import LABEL_OPTIMIZERS, PRESETS, PurifyConfig


def check_config(config: PurifyConfig) -> None:
    """The settings are possible; numbers are checked where concrete.

    Raises:
        InputError: a setting is not, named with what it may be.
    """
    if not isinstance(config, PurifyConfig):
        raise InputError(f"config must be a PurifyConfig, got {type(config).__name__}")
    _one_of("config.preset", config.preset, PRESETS)
    _one_of("config.label_optimizer", config.label_optimizer, LABEL_OPTIMIZERS)
    for name, least in (
        ("steps", 1),
        ("race_steps", 1),
        ("num_folds", 2),
        ("refits", 0),
        ("eac_period", 1),
        ("ipc_batch_size", 1),
        ("eac_batch_size", 1),
        ("num_members", 1),
    ):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"config.{name} is {value!r}; it must be a whole number, at least {least}")
    if not isinstance(config.weight_decay, tuple) or not config.weight_decay:
        raise InputError(
            f"config.weight_decay must be a tuple with an entry per candidate, got {config.weight_decay!r}"
        )
    for name in ("ridge_penalty", "weight_decay"):
        for value in jax.tree.leaves(getattr(config, name)):
            if not is_traced(value) and not np.all(np.asarray(value) > 0):
                raise InputError(f"config.{name} is {value}; it must be positive")
    for name, value in (("val_weight", config.val_weight), ("eac_momentum", config.eac_momentum)):
        if not is_traced(value) and not np.all(np.asarray(value) >= 0):
            raise InputError(f"config.{name} is {value}; it must not be negative")
    if not is_traced(config.eac_momentum) and not np.all(np.asarray(config.eac_momentum) <= 1):
        raise InputError(f"config.eac_momentum is {config.eac_momentum}; it is a share, at most 1")


def check_key(key: Any) -> jax.Array:
    """One typed PRNG key, of shape (); a `jax.random.PRNGKey` [2] becomes one.

    Raises:
        InputError: it is no key, or several.
    """
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise InputError(f"key must be a PRNG key, got {type(key).__name__}; pass jax.random.key(seed)")
    if key.shape != ():
        raise InputError(
            f"key must be one PRNG key, got keys of shape {key.shape}; pass one of them, or jax.vmap over "
            "them"
        )
    return key


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")
