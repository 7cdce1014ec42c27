"""M-step: one preconditioned Nesterov step of every classifier, and its new transition matrix."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import nesterov
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.posterior import e_step, leave_one_out, transition
from dmlp_jax.purifier.posterior.state import FoldClassifiers, Penalty, Precomputed

# Of the two responses of `Members`: a row's label pulls on, the starting probe is forgotten.
DRIVES = (1.0, 0.0)


def update(
    members: FoldClassifiers,
    penalty: Penalty,
    sums: e_step.Sums,
    clean_pull: jax.Array,
    momentum: jax.Array,
    shared: Precomputed,
    config: PurifyConfig,
) -> FoldClassifiers:
    """The members of one candidate after their step.

    Args:
        members: before it.
        penalty: of the candidate.
        sums: over the training rows, of the members at their lookahead, leaves [k + 1, ...].
        clean_pull: of the clean rows, see `Seen.pull`.
        momentum: of this step, see `eac.nesterov_momentum`.
        shared: see `schedule.share`.
        config: the settings.
    """
    decay, bound = penalty
    classes = sums.pull.shape[-1]
    drives = jnp.asarray(DRIVES, jnp.float32)[:, None]

    def update(member, sums, clean_pull):
        optimizer = member.optimizer
        gradient = sums.pull + decay * optimizer.lookahead + config.val_weight * clean_pull
        information = leave_one_out.fisher_information(sums.squares, shared.total, classes)
        return FoldClassifiers(
            nesterov.nesterov_step(optimizer, gradient, bound, momentum),
            leave_one_out.follow_response(
                member.response, information, shared.spectrum, decay, momentum, drives
            ),
            transitions(sums.counts, config),
            information,
            sums.moment,
        )

    return jax.vmap(update)(members, sums, clean_pull)


def transitions(counts: jax.Array, config: PurifyConfig) -> jax.Array:
    """T [c, c] from soft counts; uniform, so that given labels carry no evidence, in the ablation."""
    if not config.posterior:
        return jnp.full_like(counts, 1.0 / counts.shape[-1])
    return transition.transition_matrix(counts)
