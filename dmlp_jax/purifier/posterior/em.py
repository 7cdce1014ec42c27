"""One round of the recommended schedule (`schedule.py`).

A look at the clean rows, a pass over the training rows, a step of the classifiers.
"""

from functools import partial

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import nesterov
from dmlp_jax.purifier.base import scores as selection
from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.paper import ipc
from dmlp_jax.purifier.posterior import active as active_lib
from dmlp_jax.purifier.posterior import e_step, label_shift, leave_one_out, temperature_evidence
from dmlp_jax.purifier.posterior.active import Active
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.m_step import update
from dmlp_jax.purifier.posterior.state import Candidate, FoldClassifiers, Penalty, Precomputed, Snapshot
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows import clean_set as clean_lib
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanPredictions, CleanSet

History = dict[str, jax.Array]
# Share of the race before which no round is picked, see `schedule.py`.
EARLIEST = 0.75
# What is kept of every round; see `PurifyResult.history`.
HISTORY = (
    "changed",
    "expected_score",
    "held_out_loss",
    "held_out_accuracy",
    "val_loss",
)


def run(
    candidates: Candidate,
    active: Active,
    step: jax.Array,
    penalties: Penalty,
    train: Training,
    clean: CleanSet,
    shared: Precomputed,
    config: PurifyConfig,
) -> tuple[Candidate, History]:
    """One round of the active candidates.

    Args:
        candidates: leaves [s, ...].
        active: those of them that still run.
        step: the round, from 0.
        penalties: of the candidates, leaves [s, ...].
        train: the training rows.
        clean: the clean rows and their folds.
        shared: see `schedule.share`.
        config: the settings.

    Returns:
        The candidates after it, and what `HISTORY` names of it, arrays [s]; with `config.keep_label_history`
        'labels' too, [s, n] with padding. 0 for candidates that are not active.
    """
    momentum = jnp.asarray(nesterov.nesterov_momentum(config.steps))[step]
    look = partial(_look, step=step, clean=clean, shared=shared, config=config)
    heads, seen = active_lib.collect(
        look, active, candidates.members, candidates.temperature, candidates.evidence
    )
    sums = active_lib.map_candidates(partial(_sums, train=train), active, heads)
    history = {}
    if config.keep_label_history:
        history["labels"] = _hard_labels(heads, active, train)

    def finish(state, head, seen, sums, penalty):
        candidate, _ = state
        current, scores, tolerated = _judge(candidate, head, seen, step, clean)
        better = True
        if config.selection:
            best = candidate.best
            improves = (current.score > best.score) | (best.loss > tolerated)
            early = step < int(EARLIEST * config.race_steps)
            fits = early | ((current.loss <= tolerated) & improves)
            better = jnp.isfinite(current.score) & fits
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), current, candidate.best)
        members = update(candidate.members, penalty, sums, seen.pull, momentum, shared, config)
        temperature, last = head.temperature[-1], jax.tree.map(lambda leaf: leaf[-1], sums)
        evidence = temperature_evidence.evidence_of_rows(
            temperature, last.slopes, last.curvature, last.counts
        )
        shares = label_shift.keep_larger_shift(clean.targets, evidence.shares, candidate.evidence.shares)
        evidence = evidence._replace(shares=shares)
        changed = 1.0 - jnp.trace(last.counts) / shared.total
        return Candidate(members, temperature, evidence, best, tolerated), scores | {"changed": changed}

    nothing = dict.fromkeys(HISTORY, jnp.zeros_like(penalties.decay))
    heads = heads._replace(direction=None)
    candidates, scores = active_lib.update(
        finish, active, (candidates, nothing), heads, seen, sums, penalties
    )
    return candidates, history | scores


def _look(
    members: FoldClassifiers,
    temperature: jax.Array,
    evidence: TemperatureEvidence,
    step: jax.Array,
    clean: CleanSet,
    shared: Precomputed,
    config: PurifyConfig,
) -> tuple[Head, CleanPredictions]:
    """What a candidate's members write with, at their lookahead; and what they say about the clean rows.

    Args:
        members: the classifiers.
        temperature: that calibrated them in the round before.
        evidence: of the training rows on it, from that round.
        step: the round.
        clean: the clean rows.
        shared: see `schedule.share`.
        config: the settings.

    Returns:
        Their heads, leaves [k + 1, ...]; what they say, held-out logits over the temperature that calibrates
        them now and with the clean rows' class shares.
    """
    weights = members.optimizer.lookahead
    shift = label_shift.log_ratio(clean.targets, evidence.shares)
    seen = clean_lib.predict_clean(weights, clean, shift)
    temperature = calibration.fit_temperature(seen.held_out, clean.targets, evidence, temperature, shift)
    # The probe was linear in its labels: what is left of it does not depend on the information in them.
    information = jnp.stack([members.information, jnp.zeros_like(members.information)], axis=1)
    left = leave_one_out.leverage(members.response.lookahead, information, shared.spectrum, shared.total)
    head = Head(
        weights,
        members.transition,
        left[:, 0],
        left[:, 1],
        jnp.broadcast_to(temperature, members.information.shape),
        _label_step(members, step, clean, shared, config) if config.ipc else None,
    )
    return head, seen._replace(held_out=seen.held_out / temperature + shift)


def _label_step(
    members: FoldClassifiers, step: jax.Array, clean: CleanSet, shared: Precomputed, config: PurifyConfig
) -> jax.Array:
    """IPC's step on the labels of the round before, as a direction [k + 1, d, c]; see `posterior.Head`."""

    def gradient_of(moment, mask):
        val = ipc.Validation(clean.features, clean.targets, mask)
        return ipc.moment_gradient(moment, shared.ridge, val, config.entropy_weight)

    assert shared.label_unit is not None  # as wherever config.ipc is set, see `schedule.share`
    gradient = jax.vmap(gradient_of)(members.moment, clean.masks)
    # The loss is a mean of squares: times half the rows it has the curvature that sets the unit.
    length = config.label_lr * config.label_lr_decay**step * shared.label_unit
    size = jnp.where(step > 0, 0.5 * length * jnp.sum(clean.masks, axis=1), 0.0)
    return size[:, None, None] * gradient


def _sums(heads: Head, train: Training) -> e_step.Sums:
    """`posterior.sums` of heads with leaves [s, k + 1, ...] over all rows, in one pass."""
    shape = heads.leverage.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), heads)
    sums = chunks.sum_over(partial(e_step.sums, flat), train)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), sums)


def _judge(
    candidate: Candidate, head: Head, seen: CleanPredictions, step: jax.Array, clean: CleanSet
) -> tuple[Snapshot, History, jax.Array]:
    """What a candidate is worth in this round.

    The held-out members are judged: they alone have not seen the clean rows that they are asked about.

    Args:
        candidate: before the round.
        head: what it writes with, leaves [k + 1, ...].
        seen: what it says of the clean rows.
        step: the round.
        clean: the clean rows.

    Returns:
        The candidate in this round, what `HISTORY` names of it but for 'changed', and the held-out loss that
        is tolerated from now on.
    """
    held_out = seen.held_out
    losses = selection.cross_entropies(held_out, calibration.smoothed(clean.targets))
    loss = jnp.mean(losses)
    bound = loss + jnp.std(losses) / losses.shape[0] ** 0.5
    tolerated = jnp.minimum(candidate.tolerated, jnp.where(jnp.isfinite(bound), bound, jnp.inf))
    score = selection.expected_score(held_out, head.transition[-1], clean.labels)
    history = {
        "expected_score": score,
        "held_out_loss": loss,
        "held_out_accuracy": selection.accuracy(held_out, clean.targets),
        "val_loss": seen.loss,
    }
    return Snapshot(score, loss, step + 1, head, held_out, candidate.evidence), history, tolerated


def _hard_labels(heads: Head, active: Active, train: Training) -> jax.Array:
    """Labels [s, n], padding included, that active heads (leaves [s, k + 1, ...]) write, last member's."""
    small = jnp.uint8 if train.num_classes <= 256 else jnp.int32

    def write(heads):
        heads = jax.tree.map(lambda leaf: leaf[:, -1], heads)
        return chunks.map_over(
            lambda chunk: jnp.argmax(e_step.write(heads, chunk).labels, axis=1).T.astype(small), train
        ).T

    return active_lib.map_candidates(write, active, heads)
