"""How much a row's own label has moved the classifier's prediction for it.

Row i's label pulls its logits by h (q_i - p_i), q_i the label and p_i the prediction: h is the leverage, and
taking the pull back gives the prediction of a classifier that never saw the row. At the optimum of a
penalised fit h = x^T H^-1 x; a classifier after a few gradient steps has less. In the eigenbasis of F^T F the
response of the weights to a unit of gradient obeys the optimiser's own recursion, one scalar for each
eigenvalue, so it is followed alongside for next to nothing.

The curvature H is the empirical Fisher information of the given labels, F^T F times the mean of
|p - q|^2 / (c - 1), not the Hessian of the cross-entropy to the completed labels q, which know more than was
observed. Rows have equal length, so leverage is taken as equal over rows.

A classifier that starts from a probe of the given labels remembers them: the probe's response to a label,
(F^T F + penalty)^-1, fades by the same recursion without its drive.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.nesterov import NesterovState, nesterov_move


def fisher_information(squares: jax.Array, total: jax.Array, num_classes: int) -> jax.Array:
    """Mean information of a row per class direction, mean |p - q|^2 / (c - 1), a scalar.

    Args:
        squares: sum over rows of |p - q|^2, p the prediction and q the label that it is drawn to.
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

    Mirrors `eac.nesterov_step` with the preconditioner 1/2 spectrum + decay.

    Args:
        response: of the steps before; zero at the start, which no given label has touched.
        information: see `fisher`.
        spectrum: eigenvalues of F^T F, [d].
        decay: absolute L2 strength of the classifier.
        momentum: of this step, see `eac.nesterov_momentum`.
        drive: size of the gradient, to broadcast against the response; 0 follows how what was there at the
            start is forgotten.
    """
    gradient = (information * spectrum + decay) * response.lookahead - drive
    return nesterov_move(response, response.lookahead - gradient / (0.5 * spectrum + decay), momentum)


def leverage(
    response: jax.Array, information: jax.Array | float, spectrum: jax.Array, total: jax.Array
) -> jax.Array:
    """Leverage of a row left out, h / (1 - information h) with h = mean x^T R x, [...].

    Args:
        response: R in the eigenbasis, [..., d].
        information: see `fisher`, to broadcast against the leverage.
        spectrum: eigenvalues of F^T F, [d].
        total: sum of the row weights.
    """
    share = jnp.sum(spectrum * response, axis=-1) / total
    return share / jnp.maximum(1.0 - information * share, 0.1)
