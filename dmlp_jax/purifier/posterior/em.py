"""Runs one round of the default schedule: the clean rows, the E-step over the training rows, the M-step."""

from functools import partial

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import masked, nesterov, pytrees, scores, temperature
from dmlp_jax.purifier.posterior import (
    candidates,
    e_step,
    ipc_step,
    label_shift,
    leave_one_out,
    m_step,
)
from dmlp_jax.purifier.posterior.candidates import Active
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.state import Candidate, FittedModel, Penalty, Precomputed, Snapshot
from dmlp_jax.purifier.posterior.temperature_evidence import evidence_of_rows
from dmlp_jax.purifier.result import HISTORY
from dmlp_jax.purifier.rows import chunks, clean_set
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanPredictions, CleanSet

History = dict[str, jax.Array]
# Rounds in the first part of the race, this share of it, are not picked; see `race.py`.
EARLIEST = 0.75


def run_round(
    state: Candidate,
    active: Active,
    step: jax.Array,
    penalties: Penalty,
    train: Training,
    clean: CleanSet,
    precomputed: Precomputed,
    config: PurifyConfig,
) -> tuple[Candidate, History]:
    """Runs one round of the active candidates.

    Args:
        state: of all candidates, leaves [s, ...].
        active: those of them that still run.
        step: the round, from 0.
        penalties: of the candidates, leaves [s, ...].
        train: the training rows.
        clean: the clean rows and their folds.
        precomputed: what depends on no label.
        config: the settings.

    Returns:
        The candidates after it, and the values named in `HISTORY`, arrays [s]; with
        `config.keep_label_history` 'labels' too, [s, n] with padding. 0 for candidates that are not active.
    """
    momentum = jnp.asarray(nesterov.nesterov_momentum(config.steps))[step]
    look = partial(_model_and_predictions, clean=clean, precomputed=precomputed)
    models, predictions = candidates.collect(look, active, state)
    directions = None
    if precomputed.ipc is not None:
        direct = partial(ipc_step.directions, precomputed.ipc, step=step, clean=clean, config=config)
        directions = candidates.collect(direct, active, state.classifiers.moment)
    sums = candidates.map_candidates(partial(_sums, train=train), active, (models, directions))
    history = {}
    if config.keep_label_history:
        history["labels"] = _hard_labels(models, active, train)

    def finish(own, model, predicted, sums, penalty):
        candidate, _ = own
        current, found, tolerated = _judge(candidate, model, predicted, step, clean)
        better = _is_better(current, candidate.best, tolerated, step, config)
        classifiers = m_step.update(
            candidate.classifiers, penalty, sums, predicted.gradient, momentum, precomputed, config
        )
        on_all = pytrees.last(sums)
        shares = label_shift.class_shares(on_all.counts)
        following = Candidate(
            classifiers,
            model.temperature[-1],
            evidence_of_rows(model.temperature[-1], on_all.slopes, on_all.curvature),
            label_shift.keep_larger_shift(clean.targets, shares, candidate.class_shares),
            pytrees.where(better, current, candidate.best),
            tolerated,
        )
        return following, found | {"changed": 1.0 - jnp.trace(on_all.counts) / precomputed.total}

    nothing = dict.fromkeys(HISTORY, jnp.zeros_like(penalties.decay))
    state, found = candidates.update(finish, active, (state, nothing), models, predictions, sums, penalties)
    return state, history | found


def _model_and_predictions(
    candidate: Candidate, clean: CleanSet, precomputed: Precomputed
) -> tuple[LabelModel, CleanPredictions]:
    """A candidate's label model at the lookahead of its classifiers, and its predictions for the clean rows.

    Args:
        candidate: after the round before.
        clean: the clean rows.
        precomputed: what depends on no label.

    Returns:
        The model, leaves [k + 1, ...]; the predictions, with held-out logits over the temperature that
        calibrates them now and with the clean rows' class shares.
    """
    classifiers = candidate.classifiers
    weights = classifiers.optimizer.lookahead
    shift = label_shift.log_ratio(clean.targets, candidate.class_shares)
    predicted = clean_set.predict_clean(weights, clean, shift)
    fitted = temperature.fit_temperature(
        predicted.held_out, clean.targets, candidate.evidence, candidate.temperature, shift
    )
    # The probe is linear in its labels, so the rest of its response does not depend on the information.
    information = jnp.stack([classifiers.information, jnp.zeros_like(classifiers.information)], axis=1)
    leverage = leave_one_out.leverage(
        classifiers.response.lookahead, information, precomputed.spectrum, precomputed.total
    )
    model = LabelModel(
        weights,
        classifiers.transition,
        leverage[:, 0],
        leverage[:, 1],
        jnp.broadcast_to(fitted, classifiers.information.shape),
    )
    return model, predicted._replace(held_out=predicted.held_out / fitted + shift)


def _sums(models_and_directions: tuple[LabelModel, jax.Array | None], train: Training) -> e_step.Sums:
    """`e_step.sums`, with IPC `ipc_step.sums`, of models with leaves [s, k + 1, ...] over all rows."""
    shape = models_and_directions[0].leverage.shape
    models, directions = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), models_and_directions)
    if directions is None:
        sums = chunks.sum_over(partial(e_step.sums, models), train)
    else:
        sums = chunks.sum_over(partial(ipc_step.sums, models, directions), train)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), sums)


def _judge(
    candidate: Candidate, model: LabelModel, predicted: CleanPredictions, step: jax.Array, clean: CleanSet
) -> tuple[Snapshot, History, jax.Array]:
    """Scores a candidate in this round by the classifiers that did not train on the clean rows in question.

    Args:
        candidate: before the round.
        model: its label model, leaves [k + 1, ...].
        predicted: its predictions for the clean rows.
        step: the round, from 0.
        clean: the clean rows.

    Returns:
        The candidate in this round, the values named in `HISTORY` except 'changed', and the held-out loss
        that is tolerated from now on.
    """
    held_out = predicted.held_out
    losses = scores.cross_entropies(held_out, temperature.smoothed(clean.targets))
    loss = masked.mean(losses, clean.real)
    bound = loss + masked.deviation(losses, clean.real) / jnp.sqrt(clean.number)
    tolerated = jnp.minimum(candidate.tolerated, jnp.where(jnp.isfinite(bound), bound, jnp.inf))
    score = scores.expected_score(held_out, model.transition[-1], clean.labels, clean.real)
    history = {
        "expected_score": score,
        "held_out_loss": loss,
        "held_out_accuracy": scores.accuracy(held_out, clean.targets),
        "val_loss": predicted.loss,
    }
    fitted = FittedModel(model, held_out, candidate.evidence, candidate.class_shares)
    return Snapshot(score, loss, step + 1, fitted), history, tolerated


def _is_better(
    current: Snapshot, best: Snapshot, tolerated: jax.Array, step: jax.Array, config: PurifyConfig
) -> jax.Array:
    """Whether this round takes the place of the best one so far, a scalar bool; see `race.py`."""
    if not config.selection:
        return jnp.bool_(True)
    improves = (current.score > best.score) | (best.loss > tolerated)
    early = step < int(EARLIEST * config.race_steps)
    return jnp.isfinite(current.score) & (early | ((current.loss <= tolerated) & improves))


def _hard_labels(models: LabelModel, active: Active, train: Training) -> jax.Array:
    """Labels [s, n], padding included, that the last classifier of every active candidate writes."""
    small = jnp.uint8 if train.num_classes <= 256 else jnp.int32

    def write(models):
        on_all = jax.tree.map(lambda leaf: leaf[:, -1], models)
        return chunks.map_over(
            lambda chunk: jnp.argmax(e_step.posterior_labels(on_all, chunk), axis=1).T.astype(small), train
        ).T

    return candidates.map_candidates(write, active, models)
