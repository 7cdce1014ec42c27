"""Averages the labels of the reviewed rounds with those of the default rounds, by the evidence for each.

Where mistakes do not depend on the features, given the true class, the label model of the default rounds is
right: it knows the noise from all training rows. The label model of the reviewed rounds learns it anew from
reviewed rows, and a few dozen of them tell it worse. Which of the two holds is not known, but reviewed rows
tell: where people's mistakes follow the features, the default model is certain of wrong labels. Bayesian
model averaging (Hoeting et al. 1999) weighs the labels of both models by the models' posterior probabilities,

    p(default | reviewed rows) = prior L_default / (prior L_default + (1 - prior) L_reviewed)

L_default is the likelihood of held-out reviewed rows under the default model, which has no number fitted to
them. L_reviewed is the marginal likelihood of the label model, which pays for each number that it fits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews

# Prior probability of the default model. At even odds a few reviewed rows that fit both models would leave it
# most of the weight, and labels by people become worse.
PRIOR = 0.1


class Average(NamedTuple):
    """The average of the two models.

    Attributes:
        share: posterior probability of the default model, scalar in [0, 1].
        logits: log-probabilities of the clean rows by both, held out, [m, c].
    """

    share: jax.Array
    logits: jax.Array


def average(
    default: jax.Array, reviewed: jax.Array, log_evidence: jax.Array, reviews: Reviews, clean: CleanSet
) -> Average:
    """Weighs the two models by reviewed rows.

    Args:
        default: log-probabilities of the clean rows by the default model, held out, [m, c].
        reviewed: the same by the label model of the reviewed rounds.
        log_evidence: of this label model, see `conditional_logit.log_evidence`.
        reviews: of the clean rows.
        clean: the clean rows.
    """
    log_likelihood = jnp.dot(reviews.known, jnp.sum(clean.targets * default, axis=1))
    log_odds = jnp.log(PRIOR / (1.0 - PRIOR)) + log_likelihood - log_evidence
    both = jnp.stack([default + jax.nn.log_sigmoid(log_odds), reviewed + jax.nn.log_sigmoid(-log_odds)])
    return Average(jax.nn.sigmoid(log_odds), jax.nn.logsumexp(both, axis=0))


def mix(share: jax.Array, default: jax.Array, reviewed: jax.Array) -> jax.Array:
    """Average of the two models' probabilities, arrays of one shape."""
    return share * default + (1.0 - share) * reviewed
