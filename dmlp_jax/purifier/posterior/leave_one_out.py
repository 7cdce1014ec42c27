"""Tracks leverage: how far a row's own label has moved the classifier's prediction for it.

Row i's label q_i moves its logits by h (q_i - p_i), with p_i the prediction and h the leverage. Undoing that
gives the leave-one-out prediction, of a classifier that was trained without the row. At the optimum of a
penalised fit h = x^T H^-1 x; a classifier after a few gradient steps has less. In the eigenbasis of F^T F the
response of the weights to a unit of gradient obeys the optimiser's own recursion, one scalar for each
eigenvalue, so it is followed beside the weights at almost no cost.

The curvature H is the empirical Fisher information of the given labels, F^T F times the mean of
|p - q|^2 / (c - 1). The Hessian of the cross-entropy to soft posteriors q would overstate it. Rows have equal
length, so all rows are taken to have equal leverage.

A classifier that starts from a probe of the given labels carries their influence: the probe's response to a
label, (F^T F + penalty)^-1, decays by the same recursion without a drive.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.nesterov import NesterovState, nesterov_move


def fisher_information(squares: jax.Array, total: jax.Array, num_classes: int) -> jax.Array:
    """Mean information of a row per class direction, mean |p - q|^2 / (c - 1), a scalar.

    Args:
        squares: sum over rows of |p - q|^2, p the prediction and q the posterior that p itself
            would give.
        total: sum of the row weights.
        num_classes: c.
    """
    return squares / (total * (num_classes - 1))


def follow_response(
    response: NesterovState,
    information: jax.Array,
    spectrum: jax.Array,
    decay: jax.Array,
    momentum: jax.Array | float,
    drive: jax.Array | float = 1.0,
) -> NesterovState:
    """One step of the weights' response to a constant unit of gradient, [..., d], in the eigenbasis.

    Mirrors `nesterov.nesterov_step` with the preconditioner 1/2 spectrum + decay, which leaves the few clean
    rows out.

    Args:
        response: state after the steps before. At the start it is 0, or the response of the starting probe.
        information: see `fisher_information`.
        spectrum: eigenvalues of F^T F, [d].
        decay: absolute L2 strength of the classifier.
        momentum: of this step, see `nesterov.nesterov_momentum`.
        drive: size of the gradient, to broadcast against the response; 0 follows the decay of the response
            at the start.
    """
    gradient = (information * spectrum + decay) * response.lookahead - drive
    return nesterov_move(response, response.lookahead - gradient / (0.5 * spectrum + decay), momentum)


def leverage(
    response: jax.Array, information: jax.Array | float, spectrum: jax.Array, total: jax.Array
) -> jax.Array:
    """Leverage of a row left out, h / (1 - information h) with h = mean x^T R x, [...]; at most 10 h.

    Args:
        response: R in the eigenbasis, [..., d].
        information: see `fisher_information`, to broadcast against the leverage.
        spectrum: eigenvalues of F^T F, [d].
        total: sum of the row weights.
    """
    share = jnp.sum(spectrum * response, axis=-1) / total
    return share / jnp.maximum(1.0 - information * share, 0.1)
