"""Runs the race: candidates of different L2 strength run side by side, and the best goes on alone.

Without IPC the rounds (`em.py`) are expectation maximisation of the likelihood of the given labels and the
clean rows, with one preconditioned gradient step per M-step (as in Bekker and Goldberger 2016). It works
because the E-step takes leave-one-out predictions. A prediction that was trained on a label agrees with it:
the posterior counts the label twice, T turns sharper than the truth, and the classifier memorises the noise.

Each candidate has one classifier without each fold of the clean set and one with all of it. A clean row is
scored by the classifier that was not trained on it: by the expected log-likelihood of its written label, with
its given label drawn from T.

- The candidate with the best race score after `config.race_steps` rounds goes on alone. The race score is
  held-out log p(y given x, label) plus held-out log p(y given x): T may trust the given labels too much or
  too little, and either term alone picks the wrong candidate more often. (The likelihood of the given labels,
  a sum over many more rows, is no guide: it measures how well the noise is explained, and favours classifiers
  whose labels are points worse.) In a shorter race strong penalties win that are overtaken soon after.
- The round with the best expected score is picked, from three quarters of the race on: the starting probe was
  tuned on these same held-out rows, which flatters the rounds that still resemble it. No round is picked
  whose held-out loss is above the least loss plus standard error of any round so far, and a round picked
  before is dropped when that happens (`em.py`, `_is_better`): where a classifier goes astray, T trusts the
  given labels too much (many classes) or too little (few rows and a weak penalty, where the leave-one-out
  correction is larger than what a row's label has moved), and the expected score keeps rising.
"""

from functools import partial

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import nesterov, pytrees, ridge
from dmlp_jax.purifier.posterior import e_step, em, ipc_step, label_shift, leave_one_out, m_step
from dmlp_jax.purifier.posterior.candidates import Active
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.posterior.e_step import LabelModel
from dmlp_jax.purifier.posterior.em import History
from dmlp_jax.purifier.posterior.state import (
    Candidate,
    FittedModel,
    FoldClassifiers,
    Penalty,
    Precomputed,
    Snapshot,
)
from dmlp_jax.purifier.posterior.temperature_evidence import evidence_of_rows
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanSet


def precompute(
    gram: jax.Array, spectrum: jax.Array, total: jax.Array, clean: CleanSet, config: PurifyConfig
) -> Precomputed:
    """What all classifiers share, from the Gram matrix [d, d], its spectrum and the sum of row weights."""
    ipc = ipc_step.prepare(gram, clean, config) if config.ipc else None
    return Precomputed(gram, ridge.gram(clean.features), spectrum, total, ipc)


def run(
    train: Training, clean: CleanSet, start: Probe, precomputed: Precomputed, config: PurifyConfig
) -> tuple[Snapshot, jax.Array, History]:
    """Runs the race and then the winner to the end.

    Args:
        train: the training rows.
        clean: the clean rows and their folds.
        start: the probe to start from, one classifier per fold and one for all clean rows.
        precomputed: see `precompute`.
        config: the settings.

    Returns:
        The winner at its best round (without `config.selection`: the first candidate at its last round), its
        index, and its history, arrays [steps].
    """
    strengths = config.weight_decay if config.selection else config.weight_decay[:1]
    decays = jnp.stack([jnp.asarray(decay, jnp.float32) for decay in strengths]) * clean.width
    bound = partial(nesterov.preconditioner, precomputed.gram, precomputed.gram_val, config.val_weight)
    penalties = Penalty(decays, jax.vmap(bound)(decays))
    first = _start(train, start, precomputed, config)
    candidates = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(strengths), *leaf.shape)), first)
    race = min(config.race_steps, config.steps) if len(strengths) > 1 else 0

    def body(state, step):
        candidates, winner = state
        racing = step < race
        active = Active(jnp.where(racing, 0, winner), jnp.where(racing, len(strengths), 1))
        candidates, history = em.run_round(
            candidates, active, step, penalties, train, clean, precomputed, config
        )
        # All candidates have scores until the race ends.
        race_scores = history["expected_score"] - history["held_out_loss"]
        ahead = jnp.argmax(jnp.where(jnp.isfinite(race_scores), race_scores, -jnp.inf)).astype(jnp.int32)
        return (candidates, jnp.where(step == race - 1, ahead, winner)), history

    steps = jnp.arange(config.steps, dtype=jnp.int32)
    (candidates, winner), history = jax.lax.scan(body, (candidates, jnp.int32(0)), steps)
    own = {name: values[:, winner] for name, values in history.items()}
    return pytrees.at(candidates.best, winner), winner, own


def _start(train: Training, start: Probe, precomputed: Precomputed, config: PurifyConfig) -> Candidate:
    """A candidate before the first round."""
    count, classes = start.weights.shape[0], start.weights.shape[2]
    ones = jnp.ones(count, jnp.float32)
    uniform = jnp.full((count, classes, classes), 1.0 / classes, jnp.float32)
    response = jnp.stack([jnp.zeros_like(start.response), start.response])
    own, of_given = leave_one_out.leverage(response, 0.0, precomputed.spectrum, precomputed.total)
    model = LabelModel(start.weights, uniform, own * ones, of_given * ones, ones)
    counts = chunks.sum_over(lambda chunk: e_step.sums(model, chunk).counts, train)
    # All labels are equally likely under a uniform T: they carry no evidence on the temperature.
    evidence = evidence_of_rows(jnp.float32(1), jnp.zeros(2, jnp.float32), jnp.zeros((2, 2), jnp.float32))
    classifiers = FoldClassifiers(
        nesterov.init_nesterov(start.weights),
        nesterov.init_nesterov(jnp.broadcast_to(response, (count, *response.shape))),
        jax.vmap(partial(m_step.estimate_transition, config=config))(counts),
        0.0 * ones,
        jnp.zeros_like(start.weights) if config.ipc else None,
    )
    shares = label_shift.class_shares(counts[-1])
    fitted = FittedModel(model, start.held_out, evidence, shares)
    best = Snapshot(jnp.float32(-jnp.inf), jnp.float32(jnp.inf), jnp.int32(0), fitted)
    return Candidate(classifiers, jnp.float32(1), evidence, shares, best, jnp.float32(jnp.inf))
