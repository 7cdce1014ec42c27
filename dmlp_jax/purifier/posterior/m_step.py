"""Takes the M-step: a preconditioned Nesterov step and a new transition matrix for every classifier."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import nesterov
from dmlp_jax.purifier.posterior import leave_one_out
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import Sums
from dmlp_jax.purifier.posterior.state import FoldClassifiers, Penalty, Precomputed
from dmlp_jax.purifier.posterior.transition import transition_matrix

# Drives of the two responses: 1 for the written label, 0 for the given label of the starting probe, whose
# influence decays.
DRIVES = (1.0, 0.0)


def update(
    classifiers: FoldClassifiers,
    penalty: Penalty,
    sums: Sums,
    clean_gradient: jax.Array,
    momentum: jax.Array,
    precomputed: Precomputed,
    config: PurifyConfig,
) -> FoldClassifiers:
    """The classifiers of one candidate after their step.

    Args:
        classifiers: before it.
        penalty: of the candidate.
        sums: over the training rows, of the classifiers at their lookahead, leaves [k + 1, ...].
        clean_gradient: of the clean rows' cross-entropy, see `clean_set.CleanPredictions`.
        momentum: of this step, see `nesterov.nesterov_momentum`.
        precomputed: what depends on no label.
        config: the settings.
    """
    decay, inverse_bound = penalty
    drives = jnp.asarray(DRIVES, jnp.float32)[:, None]

    def step(classifier, sums, clean_gradient):
        optimizer = classifier.optimizer
        gradient = sums.gradient + decay * optimizer.lookahead + config.val_weight * clean_gradient
        information = leave_one_out.fisher_information(
            sums.squares, precomputed.total, sums.gradient.shape[-1]
        )
        response = leave_one_out.follow_response(
            classifier.response, information, precomputed.spectrum, decay, momentum, drives
        )
        return FoldClassifiers(
            nesterov.nesterov_step(optimizer, gradient, inverse_bound, momentum),
            response,
            estimate_transition(sums.counts, config),
            information,
            sums.moment,
        )

    return jax.vmap(step)(classifiers, sums, clean_gradient)


def estimate_transition(counts: jax.Array, config: PurifyConfig) -> jax.Array:
    """T [c, c] from soft counts; uniform, so that given labels carry no evidence, without `posterior`."""
    if not config.posterior:
        return jnp.full_like(counts, 1.0 / counts.shape[-1])
    return transition_matrix(counts)
