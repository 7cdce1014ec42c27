"""Scores the final labels on held-out clean rows, whose given labels may be known or not."""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import reliability, scores
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.posterior.classifier_errors import FinalModel
from dmlp_jax.purifier.result import HeldOut
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews

# Most triples of a clean row and two classes that are evaluated; with more, clean rows are left out.
TRIPLES = 2**31


def judge(final: FinalModel, reviews: Reviews | None, weight: jax.Array, clean: CleanSet) -> HeldOut:
    """Scores the final model's labels of clean rows that its classifiers did not train on.

    Args:
        final: the final model.
        reviews: what the noisy source gave to the clean rows. None where that is not known: the score is then
            an expectation over given labels drawn from the estimated noise.
        weight: of the clean rows in counts, [m].
        clean: the clean rows.
    """
    if reviews is None:
        return _expected(final, weight, clean)
    logits = log_posterior(final, reviews)
    hits = jnp.argmax(logits, axis=-1) == clean.labels
    bins = reliability.of_predictions(logits, clean.targets, weight)
    return HeldOut(hits, scores.score(logits, clean.targets, weight=weight), bins, 1, weight)


def log_posterior(final: FinalModel, reviews: Reviews) -> jax.Array:
    """Log-probabilities of the true classes of held-out clean rows by Bayes' rule, [m, c].

    Args:
        final: the final model.
        reviews: what the clean rows were given.
    """
    told = matmul(reviews.given, jnp.log(final.cautious_transition).T)
    return jax.nn.log_softmax(final.held_out + told)


def _expected(final: FinalModel, weight: jax.Array, clean: CleanSet) -> HeldOut:
    """`judge` in expectation over given labels; of every k-th clean row where `TRIPLES` demands it."""
    count, classes = clean.targets.shape
    stride = -(-count * classes**2 // TRIPLES)
    found = reliability.expected(
        final.held_out[::stride], clean.targets[::stride], final.transition, final.cautious_transition
    )
    # The bins count all rows.
    each = count / found.hits.shape[0]
    bins = {name: each * values for name, values in found.bins.items()}
    loss = -scores.expected_score(
        final.held_out, final.transition, clean.labels, clean.real, final.cautious_transition
    )
    score = HeldOutScore(loss, *scores.counted(found.hits, weight[::stride]))
    return HeldOut(found.hits, score, bins, stride, weight)
