"""Takes Nesterov steps of softmax regression, preconditioned by a bound of the Hessian."""

from typing import NamedTuple

import jax
import numpy as np

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.base.ridge import matmul


class NesterovState(NamedTuple):
    """State of one classifier under Nesterov's accelerated gradient.

    Attributes:
        weights: [..., d, c]; the features carry a constant column, so there is no bias. Also used for the
            response of such weights to a unit of gradient, [..., d], see `posterior/leave_one_out.py`.
        lookahead: point at which predictions and gradients are taken, of the same shape.
    """

    weights: jax.Array
    lookahead: jax.Array


def init_nesterov(weights: jax.Array) -> NesterovState:
    """The initial state, at `weights`."""
    return NesterovState(weights, weights)


def nesterov_momentum(steps: int) -> np.ndarray:
    """How far each step carries the lookahead past the weights, as a share of their move; [steps], in [0, 1).

    (t_k - 1) / t_(k+1) with t_1 = 1 and t_(k+1) = (1 + sqrt(1 + 4 t_k^2)) / 2 (Beck and Teboulle 2009).
    """
    momentum, last = np.empty(steps, np.float32), 1.0
    for step in range(steps):
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * last**2))
        momentum[step], last = (last - 1.0) / following, following
    return momentum


def preconditioner(
    gram_matrix: jax.Array,
    gram_val: jax.Array,
    val_weight: jax.Array | float,
    weight_decay: jax.Array | float,
) -> jax.Array:
    """Inverse of 1/2 (F^T F + val_weight F_v^T F_v) + weight_decay I, [d, d].

    That matrix bounds the Hessian of the summed cross-entropy (Bohning 1992), so a step of length 1 never
    overshoots.

    Args:
        gram_matrix: F^T F of the training rows, [d, d].
        gram_val: F_v^T F_v of the clean rows, [d, d].
        val_weight: weight of a clean row relative to a training row.
        weight_decay: absolute L2 strength.
    """
    return ridge.inverse(0.5 * (gram_matrix + val_weight * gram_val), weight_decay)


def nesterov_step(
    state: NesterovState, gradient: jax.Array, bound: jax.Array, momentum: jax.Array | float
) -> NesterovState:
    """One preconditioned step of Nesterov's accelerated gradient of length 1.

    Args:
        state: the classifier.
        gradient: of the summed loss at `state.lookahead`, [d, c].
        bound: inverse of an upper bound of the Hessian, [d, d], see `preconditioner`.
        momentum: of this step, see `nesterov_momentum`.
    """
    return nesterov_move(state, state.lookahead - matmul(bound, gradient), momentum)


def nesterov_move(state: NesterovState, weights: jax.Array, momentum: jax.Array | float) -> NesterovState:
    """The state at the new `weights`, with the lookahead that momentum carries past them."""
    return NesterovState(weights, weights + momentum * (weights - state.weights))
