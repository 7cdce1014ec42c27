"""Defines learning-rate schedules: functions of the (fractional) number of epochs done, a float32 scalar.

They do not count steps, because the number of steps may differ between epochs.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def make(settings: ConfigDict) -> Schedule:
    """Builds the schedule named `settings.schedule`.

    'cosine' is a linear warm-up over `warmup_epochs`, then half a cosine to 0. 'steps' multiplies by
    `lr_drop` at each of `lr_drops`; 'warm_steps' does so after a linear warm-up over `warmup_epochs`.
    'linear' is constant up to `lr_decay_start`, then falls linearly to 0.
    'restarts' is a cosine from `lr` to `lr_min` that restarts every `lr_restart_epochs` epochs (SGDR,
    Loshchilov and Hutter 2017). 'slow_cosine' is lr cos(7/16 pi e / epochs) after e epochs, which ends at a
    fifth of `lr` (FixMatch, Sohn et al. 2020). `lr_drops` and `lr_decay_start` are shares of all epochs, so
    they fit runs of any length.

    Args:
        settings: with schedule, lr, epochs and the settings named above for the schedule.

    Raises:
        UserError: no such schedule, or its settings are out of range.
    """
    makers = {
        "cosine": cosine,
        "steps": _steps,
        "warm_steps": _warm_steps,
        "linear": _linear,
        "restarts": _restarts,
        "slow_cosine": _slow_cosine,
    }
    if settings.schedule not in makers:
        raise UserError(f"schedule is {settings.schedule!r}; it must be one of {', '.join(makers)}")
    return makers[settings.schedule](settings)


def cosine(settings: ConfigDict) -> Schedule:
    """Linear warm-up over `warmup_epochs` to `lr`, then half a cosine to 0 at `epochs`."""
    peak, total = settings.lr, float(settings.epochs)
    warmup = min(float(settings.warmup_epochs), total)

    def rate(epoch):
        rising = epoch / max(warmup, 1e-9)
        falling = 0.5 * (1.0 + jnp.cos(jnp.pi * (epoch - warmup) / max(total - warmup, 1e-9)))
        return peak * jnp.where(epoch < warmup, rising, falling)

    return rate


def _steps(settings: ConfigDict) -> Schedule:
    if not all(0 < share < 1 for share in settings.lr_drops):
        raise UserError(
            f"lr_drops is {tuple(settings.lr_drops)}; each must be a share of the epochs, between 0 and 1"
        )
    drops = jnp.array([share * settings.epochs for share in settings.lr_drops], jnp.float32)
    return lambda epoch: settings.lr * settings.lr_drop ** jnp.sum(epoch >= drops)


def _warm_steps(settings: ConfigDict) -> Schedule:
    rate = _steps(settings)
    return lambda epoch: rate(epoch) * jnp.clip(epoch / max(settings.warmup_epochs, 1e-9), 0.0, 1.0)


def _linear(settings: ConfigDict) -> Schedule:
    start = settings.lr_decay_start * settings.epochs
    length = max(settings.epochs - start, 1e-9)
    return lambda epoch: settings.lr * jnp.clip((settings.epochs - epoch) / length, 0.0, 1.0)


def _restarts(settings: ConfigDict) -> Schedule:
    low, high, period = settings.lr_min, settings.lr, settings.lr_restart_epochs
    if period < 1:
        raise UserError(f"lr_restart_epochs is {period}; it must be at least 1")
    return lambda epoch: low + 0.5 * (high - low) * (1.0 + jnp.cos(jnp.pi * (epoch % period) / period))


def _slow_cosine(settings: ConfigDict) -> Schedule:
    return lambda epoch: settings.lr * jnp.cos(7.0 / 16.0 * jnp.pi * epoch / settings.epochs)
