"""Runs the default schedule from a probe to labels: race, refinement, separation of errors, score."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import pytrees
from dmlp_jax.purifier.posterior import classifier_errors, e_step, held_out, lda, race
from dmlp_jax.purifier.posterior.classifier_errors import FinalModel
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.em import History
from dmlp_jax.purifier.posterior.state import FittedModel, Precomputed
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.result import Outcome
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews
from dmlp_jax.purifier.rows.scaling import linear_classifier

# Share of chance in the noise by which label quality is told. With hardly any noise estimated, posteriors
# round to 1 and rank nothing.
CHANCE = 0.2


class Fit(NamedTuple):
    """The result of the rounds.

    Attributes:
        fitted: the winner after its refinement.
        history: see `PurifyResult.history`.
        chosen: see `Outcome`.
    """

    fitted: FittedModel
    history: History
    chosen: dict[str, jax.Array]


def fit(
    train: Training, clean: CleanSet, start: Probe, precomputed: Precomputed, config: PurifyConfig
) -> Fit:
    """Runs the race and the refinement.

    Args:
        train: the training rows.
        clean: the clean rows and their folds.
        start: the probe to start from.
        precomputed: see `race.precompute`.
        config: the settings.
    """
    best, candidate, history = race.run(train, clean, start, precomputed, config)
    fitted, refits = lda.refine(best.fitted, train, clean, precomputed, config)
    return Fit(fitted, history, {"candidate": candidate, "step": best.step, "refits": refits})


def outcome(
    fit: Fit,
    train: Training,
    clean: CleanSet,
    reviews: Reviews | None,
    weight: jax.Array,
    config: PurifyConfig,
) -> Outcome:
    """Separates classifier errors from label noise and scores the labels.

    Args:
        fit: the result of the rounds.
        train: the training rows.
        clean: the clean rows and their folds.
        reviews: what the noisy source gave to the clean rows, or None.
        weight: of the clean rows in counts, [m].
        config: the settings.
    """
    final = classifier_errors.separate_classifier_errors(fit.fitted, clean, config)
    # Errors and temperature are no part of the linear head: it predicts as the rounds left it.
    head = pytrees.last(fit.fitted.model)
    return Outcome(
        write=lambda chunk, _: write(final, chunk),
        rows=None,
        classifier=linear_classifier(head.weights / head.temperature, train.mean),
        held_out=held_out.judge(final, reviews, weight, clean),
        history=fit.history,
        chosen=fit.chosen,
    )


def write(final: FinalModel, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
    """The final model's labels [b, c] of rows [b, ...], and the quality of their given labels, [b]."""
    model, errors, trusted = jax.tree.map(
        lambda leaf: leaf[None], (final.model, final.errors, final.cautious_transition)
    )
    prior = e_step.corrected_probs(model, chunk, errors)
    labels = e_step.bayes(prior, e_step.likelihood_of_given(trusted, chunk))[0]
    doubted = (1.0 - CHANCE) * trusted + CHANCE / trusted.shape[-1]
    by_quality = e_step.bayes(prior, e_step.likelihood_of_given(doubted, chunk))[0]
    return labels[0].T, jnp.sum(by_quality[0].T * chunk.given, axis=1)
