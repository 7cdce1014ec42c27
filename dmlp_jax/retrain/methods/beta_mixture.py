"""Models losses by a mixture of two beta distributions (Arazo et al., ICML 2019), on the host.

The first component holds the rows with small losses, the second those whose label is likely to be wrong.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

GRID = 100
_ROUNDS = 10  # of expectation maximisation
_SMALLEST = 1e-12  # of a density times its weight
# A scaled loss of 0 or less counts as _EDGE, one of 1 or more as 1 - _EDGE; the others stay _MARGIN off.
_EDGE, _MARGIN = 1e-3, 1e-4


class LossModel(NamedTuple):
    """The probability that a label is wrong as a function of its loss.

    Attributes:
        low, high: the losses that are scaled to 0 and 1; float32 scalars.
        wrong: probability of the second component on a grid of scaled losses, [GRID] float32.
    """

    low: jax.Array | np.ndarray
    high: jax.Array | np.ndarray
    wrong: jax.Array | np.ndarray


def undecided() -> LossModel:
    """The model before the first fit: no label is wrong."""
    return LossModel(jnp.float32(0.0), jnp.float32(1.0), jnp.zeros(GRID, jnp.float32))


def fit(losses: np.ndarray) -> LossModel:
    """Fits the mixture to the losses between their 5th and 95th percentile, scaled to [0, 1].

    As in the authors' code the probability stays at its maximum for all losses above that of the maximum:
    the densities may cross twice. Where all losses are equal, no label is wrong.

    Args:
        losses: [n], not negative.
    """
    low, high = np.percentile(losses, (5, 95))
    inside = losses[(losses >= low) & (losses <= high)].astype(np.float64)
    low += 1e-5
    if high - low < 1e-6:
        return undecided()
    scaled = (inside - low) / (high - low + 1e-6)
    scaled = np.where(scaled <= 0, _EDGE, np.where(scaled >= 1, 1.0 - _EDGE, scaled))
    scaled = np.clip(scaled, _MARGIN, 1.0 - _MARGIN)
    places = np.linspace(_SMALLEST, 1.0 - _SMALLEST, GRID)
    weighted = np.exp(_log_joint(places, *_maximize(scaled)))
    wrong = weighted[1] / (weighted.sum(axis=0) + _SMALLEST)
    wrong[np.argmax(wrong) :] = wrong.max()
    return LossModel(np.asarray(low, np.float32), np.asarray(high, np.float32), wrong.astype(np.float32))


def wrong_probability(model: LossModel, losses: jax.Array) -> jax.Array:
    """Probability that each label is wrong [b], in [1e-4, 1 - 1e-4], read off the grid.

    Args:
        model: see `fit`.
        losses: [b]; no gradient flows through them.
    """
    scaled = (jax.lax.stop_gradient(losses) - model.low) / (model.high - model.low + 1e-6)
    place = jnp.floor(GRID * jnp.clip(scaled, 0.0, 1.0 - _EDGE)).astype(jnp.int32)
    return jnp.clip(jnp.asarray(model.wrong)[place], 1e-4, 1.0 - 1e-4)


def _maximize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes a and b and weights, [2] each, by expectation maximisation with the method of moments.

    a = m (m (1 - m) / v - 1) and b = a (1 - m) / m, of the weighted mean m and variance v.
    """
    a, b, weights = np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5])
    for _ in range(_ROUNDS):
        shares = np.maximum(np.exp(_log_joint(values, a, b, weights)), _SMALLEST)
        shares /= shares.sum(axis=0)
        totals = shares.sum(axis=1)
        mean = shares @ values / totals
        variance = np.sum(shares * (values - mean[:, None]) ** 2, axis=1) / totals
        a = mean * (mean * (1.0 - mean) / np.maximum(variance, _SMALLEST) - 1.0)
        b = a * (1.0 - mean) / mean
        weights = totals / totals.sum()
    return a, b, weights


def _log_joint(values: np.ndarray, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log of weight * Beta(value; a, b), [2, n], of values [n] in (0, 1)."""
    a, b, weights = a[:, None], b[:, None], weights[:, None]
    powers = special.xlogy(a - 1.0, values) + special.xlog1py(b - 1.0, -values)
    return np.log(weights) + powers - special.betaln(a, b)
