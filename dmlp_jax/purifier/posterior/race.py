"""The recommended schedule: rounds of `posterior.py`, candidates in a race, held-out selection.

Without IPC the rounds are expectation maximisation of the likelihood of the given labels and the clean rows,
one preconditioned gradient step per M-step (as in Bekker and Goldberger 2016). The leave-one-out prediction
is what makes it work: a prediction that has seen its own label agrees with it, the posterior counts the
label twice, T turns sharper than the truth and the classifier ends up memorising.

Candidates differ in the L2 strength of the classifier. Each has one member without each fold of the clean
set and one with all of it. The members that did not see a clean row are asked for the expected score: how
good would the written labels be, had the clean rows got a given label from T?

- The candidate that does best after `config.race_steps` rounds goes on alone, by this score plus the same
  without a given label, the held-out log-likelihood: T may trust the given labels too much or too little,
  and alone each of the two is misled more often. (How likely the given labels are, a sum over many more rows,
  is no guide: it says how well noise is explained, and takes classifiers whose labels are points worse.) In
  a shorter race strong penalties win that are overtaken soon after.
- The round that scores best is picked, from three quarters of the race on: the starting probe was chosen out
  of many by these same held-out rows, and flatters the rounds that still resemble it. Nor is a round picked
  that predicts the held-out clean rows by more than a standard error worse than one before it: where a
  classifier goes astray, T comes to trust the given labels too much (many classes), or too little (few rows,
  a weak penalty: the leave-one-out predictions are then corrected by more than a row's label has moved them),
  and finds the labels that it writes ever better.
"""

from functools import partial

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import nesterov, pytrees, ridge
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.paper import ipc
from dmlp_jax.purifier.posterior import e_step, em, leave_one_out, m_step, temperature_evidence
from dmlp_jax.purifier.posterior.active import Active
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.em import History
from dmlp_jax.purifier.posterior.state import Candidate, FoldClassifiers, Penalty, Precomputed, Snapshot
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows.chunks import Training
from dmlp_jax.purifier.rows.clean_set import CleanSet


def precompute(gram: jax.Array, total: jax.Array, clean: CleanSet, config: PurifyConfig) -> Precomputed:
    """What all classifiers share, from the Gram matrix [d, d] and the sum of the row weights."""
    factor = unit = None
    if config.ipc:
        factor = ridge.factor(gram, config.ridge_penalty * ridge.mean_eigenvalue(gram))
        unit = 1.0 / ipc.curvature(gram, factor, clean.features)
    return Precomputed(gram, ridge.gram(clean.features), ridge.spectrum(gram), total, factor, unit)


def run(
    train: Training, clean: CleanSet, start: Probe, shared: Precomputed, config: PurifyConfig
) -> tuple[Snapshot, jax.Array, History]:
    """Runs the race and then the winner to the end.

    Args:
        train: the training rows.
        clean: the clean rows and their folds.
        start: the probe to start from, one member per fold and one for all clean rows.
        shared: see `share`.
        config: the settings.

    Returns:
        The winner at its best round (without `config.selection`: the first candidate at its last round), its
        index, and its history, arrays [steps].
    """
    strengths = config.weight_decay if config.selection else config.weight_decay[:1]
    decays = jnp.stack([jnp.asarray(decay, jnp.float32) for decay in strengths]) * clean.features.shape[1]
    bound = partial(nesterov.preconditioner, shared.gram, shared.gram_val, config.val_weight)
    penalties = Penalty(decays, jax.vmap(bound)(decays))
    first = _start(train, start, shared, config)
    candidates = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(strengths), *leaf.shape)), first)
    race = min(config.race_steps, config.steps) if len(strengths) > 1 else 0

    def body(state, step):
        candidates, winner = state
        racing = step < race
        active = Active(jnp.where(racing, 0, winner), jnp.where(racing, len(strengths), 1))
        candidates, history = em.run(candidates, active, step, penalties, train, clean, shared, config)
        # They are those of all candidates until the race ends.
        scores = history["expected_score"] - history["held_out_loss"]
        ahead = jnp.argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf)).astype(jnp.int32)
        return (candidates, jnp.where(step == race - 1, ahead, winner)), history

    steps = jnp.arange(config.steps, dtype=jnp.int32)
    (candidates, winner), history = jax.lax.scan(body, (candidates, jnp.int32(0)), steps)
    own = {name: values[:, winner] for name, values in history.items()}
    return pytrees.at(candidates.best, winner), winner, own


def _start(train: Training, start: Probe, shared: Precomputed, config: PurifyConfig) -> Candidate:
    """A candidate before the first round."""
    members, classes = start.weights.shape[0], start.weights.shape[2]
    ones = jnp.ones(members, jnp.float32)
    uniform = jnp.full((members, classes, classes), 1.0 / classes, jnp.float32)
    response = jnp.stack([jnp.zeros_like(start.memory), start.memory])
    own, kept = leave_one_out.leverage(response, 0.0, shared.spectrum, shared.total)
    head = Head(start.weights, uniform, own * ones, kept * ones, ones, None)
    counts = chunks.sum_over(lambda chunk: e_step.sums(head, chunk).counts, train)
    # All labels are equally likely under this T: they say nothing of the temperature.
    nothing = jnp.zeros(2, jnp.float32), jnp.zeros((2, 2), jnp.float32)
    evidence = temperature_evidence.evidence_of_rows(jnp.float32(1), *nothing, counts[-1])
    state = FoldClassifiers(
        nesterov.init_nesterov(start.weights),
        nesterov.init_nesterov(jnp.broadcast_to(response, (members, *response.shape))),
        jax.vmap(partial(m_step.transitions, config=config))(counts),
        0.0 * ones,
        jnp.zeros_like(start.weights) if config.ipc else None,
    )
    best = Snapshot(jnp.float32(-jnp.inf), jnp.float32(jnp.inf), jnp.int32(0), head, start.held_out, evidence)
    return Candidate(state, jnp.float32(1), evidence, best, jnp.float32(jnp.inf))
