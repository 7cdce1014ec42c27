"""Defines learning-rate schedules: functions of the (fractional) number of epochs done, a float32 scalar.

They do not count steps, because the number of steps may differ between epochs.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def make(settings: ConfigDict) -> Schedule:
    """Builds the schedule named `settings.schedule`.

    'cosine' is a linear warm-up over `warmup_epochs`, then half a cosine to `lr_min`. 'steps' multiplies by
    `lr_drop` at each of `lr_drops`; 'warm_steps' does so after a linear warm-up over `warmup_epochs`.
    'linear' is constant up to `lr_decay_start`, then falls linearly to 0.
    'restarts' is a cosine from `lr` to `lr_min` that restarts every `lr_restart_epochs` epochs (SGDR,
    Loshchilov and Hutter 2017); where a method has `lr_restart_growth` and `lr_restart_peak`, each period is
    that many times as long as the one before, and starts at that many times its `lr`. 'slow_cosine' is
    lr cos(7/16 pi e / epochs) after e epochs, which ends at a fifth of `lr` (FixMatch, Sohn et al. 2020).
    'table' multiplies by the factor of the last pair (share of the epochs, factor) of `lr_table` that was
    reached. `lr_drops`, `lr_decay_start` and `lr_table` have shares of all epochs, so they fit runs of any
    length.

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
        "table": _table,
    }
    if settings.schedule not in makers:
        raise UserError(f"schedule is {settings.schedule!r}; it must be one of {', '.join(makers)}")
    return makers[settings.schedule](settings)


def cosine(settings: ConfigDict) -> Schedule:
    """Linear warm-up over `warmup_epochs` to `lr`, then half a cosine to `lr_min`, or 0, at `epochs`."""
    peak, low, total = settings.lr, settings.get("lr_min", 0.0), float(settings.epochs)
    warmup = min(float(settings.warmup_epochs), total)

    def rate(epoch):
        rising = epoch / max(warmup, 1e-9)
        falling = 0.5 * (1.0 + jnp.cos(jnp.pi * (epoch - warmup) / max(total - warmup, 1e-9)))
        return jnp.where(epoch < warmup, peak * rising, low + (peak - low) * falling)

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
    growth, peak = settings.get("lr_restart_growth", 1.0), settings.get("lr_restart_peak", 1.0)
    if period < 1:
        raise UserError(f"lr_restart_epochs is {period}; it must be at least 1")
    if growth < 1:
        raise UserError(f"lr_restart_growth is {growth}; it must be at least 1")
    starts = [0.0]
    while starts[-1] < settings.epochs:
        starts.append(starts[-1] + period * growth ** (len(starts) - 1))
    begins = jnp.array(starts, jnp.float32)

    def rate(epoch):
        number = jnp.sum(epoch >= begins[1:])
        done = (epoch - begins[number]) / (period * growth**number)
        return low + 0.5 * (high * peak**number - low) * (1.0 + jnp.cos(jnp.pi * done))

    return rate


def _slow_cosine(settings: ConfigDict) -> Schedule:
    return lambda epoch: settings.lr * jnp.cos(7.0 / 16.0 * jnp.pi * epoch / settings.epochs)


def _table(settings: ConfigDict) -> Schedule:
    pairs = [tuple(pair) if np.shape(pair) == (2,) else (-1, -1) for pair in settings.lr_table]
    shares = [share for share, _ in pairs]
    if not pairs or shares != sorted(set(shares)) or shares[0] != 0 or shares[-1] >= 1:
        raise UserError(
            f"lr_table is {settings.lr_table!r}; it must be pairs (share of the epochs, factor) of which the "
            "first starts at 0 and the last before 1, such as ((0,1),(0.5,0.1))"
        )
    starts = jnp.array([share * settings.epochs for share in shares], jnp.float32)
    factors = jnp.array([factor for _, factor in pairs], jnp.float32)
    return lambda epoch: settings.lr * factors[jnp.sum(epoch >= starts) - 1]
