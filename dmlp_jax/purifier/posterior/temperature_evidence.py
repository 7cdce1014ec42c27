"""Estimates the classifier's temperature from the given labels of the training rows.

p(g | x) = sum_y p_t(y | x) T[y, g] depends on the temperature t: predictions that are too timid leave more of
the given labels to chance than T says, overconfident ones less. With p_t the leave-one-out prediction, E_p
and E_Q the means under it and under the posterior, and u the logits over t, the slope of a row's
log-likelihood in log t is E_p[u] - E_Q[u]. One Newton step a round follows the most likely temperature.

This is a sum over many more rows than the clean ones, but it relies on the prediction being right in all but
scale. So it counts for no more than an estimate of log t with the standard deviation `SPREAD`: with a few
dozen clean rows it decides, with a thousand it hardly matters. T is not known but estimated from the same
rows, and timid predictions under little noise look like overconfident ones under much noise, nearly so at 90
%. So only that part of the slope counts which is uncorrelated with the slope in the noise rate (the efficient
score for a nuisance parameter, Neyman 1959): step and precision are those of log t with the rate e of T's
noise fitted beside it, T = I + e (T_0 - I). At T = T_0 the slope of a row's log-likelihood in log e is 1 -
p_t(g | x) / p(g | x).
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.temperature import TemperatureEvidence

# Standard deviation of the log t that is likeliest for the given labels, with T known, around the one that
# calibrates: on patch features of CIFAR-10 with 30 clean rows about 0.2; 0.15 labelled better than 0.05.
SPREAD = 0.15
# Longest step of log t in a round.
LONGEST_STEP = 0.5


def evidence_of_rows(temperature: jax.Array, slopes: jax.Array, curvature: jax.Array) -> TemperatureEvidence:
    """The evidence after a pass over the training rows.

    Args:
        temperature: t in that pass, scalar.
        slopes: sums over rows of the slopes in log t and in the log of the noise rate, [2].
        curvature: sums of the products of the two, [2, 2]; see `e_step.Sums`. Where the model holds, the mean
            of these products is the curvature of the log-likelihood.
    """
    tiny, eps = jnp.finfo(slopes.dtype).tiny, jnp.finfo(slopes.dtype).eps
    known = jnp.maximum(curvature[0, 0], tiny)
    shared = curvature[0, 1] / jnp.maximum(curvature[1, 1], tiny)
    own = jnp.maximum(known - shared * curvature[0, 1], eps * known)
    step = jnp.clip((slopes[0] - shared * slopes[1]) / own, -LONGEST_STEP, LONGEST_STEP)
    return TemperatureEvidence(jnp.log(temperature) + step, own / (1.0 + SPREAD**2 * known))
