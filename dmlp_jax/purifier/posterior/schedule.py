"""Runs the default schedule from a probe to labels: race, refinement, separation of errors, score."""

import jax

from dmlp_jax.purifier.base import pytrees
from dmlp_jax.purifier.posterior import classifier_errors, e_step, held_out, lda, race
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.state import Precomputed
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.result import Outcome
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.scaling import linear_classifier


def run(
    train: Training,
    clean: CleanSet,
    start: Probe,
    precomputed: Precomputed,
    val_given_labels: jax.Array | None,
    config: PurifyConfig,
) -> Outcome:
    """Purifies the labels of the training rows.

    Args:
        train: the training rows.
        clean: the clean rows and their folds.
        start: the probe to start from.
        precomputed: see `race.precompute`.
        val_given_labels: class indices [m] that the noisy source gave to the clean rows, or None.
        config: the settings.
    """
    best, candidate, history = race.run(train, clean, start, precomputed, config)
    fitted, refits = lda.refine(best.fitted, train, clean, precomputed, config)
    final = classifier_errors.separate_classifier_errors(fitted, clean, config)

    def write(chunk: Chunk, _: None) -> jax.Array:
        one = jax.tree.map(lambda leaf: leaf[None], (final.model, final.errors, final.cautious_transition))
        return e_step.posterior_labels(one[0], chunk, one[1], one[2])[0].T

    # Errors and temperature are no part of the linear head: it predicts as the rounds left it.
    model = pytrees.last(fitted.model)
    return Outcome(
        write=write,
        rows=None,
        classifier=linear_classifier(model.weights / model.temperature, train.mean),
        held_out=held_out.judge(final, val_given_labels, clean),
        history=history,
        chosen={"candidate": candidate, "step": best.step, "refits": refits},
    )
