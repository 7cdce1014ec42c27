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
  is no guide: it says how well noise is explained, and takes classifiers whose labels are points worse.)
- The round that scores best is picked, from the last of the race on: the starting probe was chosen out of
  many by these same held-out rows, and flatters the rounds that still resemble it. Nor is a round picked that
  predicts the held-out clean rows by more than a standard error worse than one before it: where a classifier
  goes astray, T comes to trust the given labels too much (many classes), or too little (few rows, a weak
  penalty: the leave-one-out predictions are then corrected by more than a row's label has moved them), and
  finds the labels that it writes ever better.
"""

from functools import partial

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import clean as clean_lib
from dmlp_jax.purifier import eac, ipc, leverage, posterior, ridge, rows, selection, transition
from dmlp_jax.purifier.baselines import Probe
from dmlp_jax.purifier.clean import CleanSet, Seen
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.posterior import Head
from dmlp_jax.purifier.rows import Chunk, Training
from dmlp_jax.purifier.state import Candidate, Members, Shared, Snapshot

History = dict[str, jax.Array]
# What is kept of every round; see `PurifyResult.history`.
HISTORY = (
    "changed",
    "expected_score",
    "held_out_loss",
    "held_out_accuracy",
    "val_loss",
)


def share(gram: jax.Array, total: jax.Array, clean: CleanSet, config: PurifyConfig) -> Shared:
    """What all classifiers share, from the Gram matrix [d, d] and the sum of the row weights."""
    factor = unit = None
    if config.ipc:
        factor = ridge.factor(gram, config.ridge_penalty * ridge.mean_eigenvalue(gram))
        unit = 1.0 / ipc.curvature(gram, factor, clean.features)
    return Shared(gram, ridge.gram(clean.features), ridge.spectrum(gram), total, factor, unit)


def run(
    train: Training, clean: CleanSet, start: Probe, shared: Shared, config: PurifyConfig
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
    candidates = _start(decays, train, clean, start, shared, config)
    body = partial(_round, train=train, clean=clean, shared=shared, config=config)
    race = min(config.race_steps, config.steps) if len(decays) > 1 else 0
    steps = jnp.arange(config.steps, dtype=jnp.int32)
    winner, parts = jnp.int32(0), []
    if race:
        candidates, history = jax.lax.scan(body, candidates, steps[:race])
        scores = history["expected_score"][-1] - history["held_out_loss"][-1]
        winner = jnp.argmax(jnp.where(jnp.isfinite(scores), scores, -jnp.inf)).astype(jnp.int32)
        candidates = jax.tree.map(lambda leaf: leaf[winner][None], candidates)
        parts.append({name: values[:, winner] for name, values in history.items()})
    if race < config.steps:
        candidates, rest = jax.lax.scan(body, candidates, steps[race:])
        parts.append({name: values[:, 0] for name, values in rest.items()})
    history = jax.tree.map(lambda *values: jnp.concatenate(values), *parts)
    return jax.tree.map(lambda leaf: leaf[0], candidates.best), winner, history


def _start(
    decays: jax.Array,
    train: Training,
    clean: CleanSet,
    start: Probe,
    shared: Shared,
    config: PurifyConfig,
) -> Candidate:
    """The candidates before the first round, leaves [s, ...]."""
    members, classes = start.weights.shape[0], start.weights.shape[2]
    zero = eac.init_nesterov(jnp.zeros_like(shared.spectrum))
    memory = eac.init_nesterov(start.memory)
    everyone = partial(jax.tree.map, lambda leaf: jnp.broadcast_to(leaf, (members, *leaf.shape)))
    ones = jnp.ones(members, jnp.float32)
    uniform = jnp.full((members, classes, classes), 1.0 / classes, jnp.float32)
    kept = leverage.of(memory.weights, jnp.float32(0), shared.spectrum, shared.total)
    head = Head(start.weights, uniform, 0.0 * ones, kept * ones, ones, None)
    counts = rows.sum_over(lambda chunk: posterior.sums(head, chunk).counts, train)
    state = Members(
        jax.vmap(eac.init_nesterov)(start.weights),
        everyone(zero),
        everyone(memory),
        jax.vmap(partial(transitions, config=config))(counts),
        0.0 * ones,
        jnp.zeros_like(start.weights) if config.ipc else None,
    )
    best = Snapshot(jnp.float32(-jnp.inf), jnp.float32(jnp.inf), jnp.int32(0), head, start.held_out)

    def candidate(decay):
        bound = eac.preconditioner(shared.gram, shared.gram_val, config.val_weight, decay)
        return Candidate(decay, bound, state, jnp.float32(1), best, jnp.float32(jnp.inf))

    return jax.vmap(candidate)(decays)


def _round(
    candidates: Candidate,
    step: jax.Array,
    train: Training,
    clean: CleanSet,
    shared: Shared,
    config: PurifyConfig,
) -> tuple[Candidate, History]:
    """One round of every candidate (leaves [s, ...]); returns their history of it too, arrays [s]."""
    look = partial(_look, step=step, clean=clean, shared=shared, config=config)
    heads, seen = jax.vmap(look)(candidates.members, candidates.temperature)
    sums = rows.sum_over(partial(_sums, heads), train)
    history = {}
    if config.keep_label_history:
        last = jax.tree.map(lambda leaf: leaf[:, -1], heads)
        history["labels"] = _hard_labels(last, train)

    def finish(candidate, head, seen, sums):
        # The held-out members' part: they alone have not seen the clean rows that they are asked about.
        held_out = seen.held_out
        losses = selection.cross_entropies(held_out, selection.smoothed(clean.targets))
        loss = jnp.mean(losses)
        bound = loss + jnp.std(losses) / losses.shape[0] ** 0.5
        tolerated = jnp.minimum(candidate.tolerated, jnp.where(jnp.isfinite(bound), bound, jnp.inf))
        score = selection.expected_score(held_out, head.transition[-1], clean.labels)
        current = Snapshot(score, loss, step + 1, head, held_out)
        better = True
        if config.selection:
            best = candidate.best
            improves = (score > best.score) | (best.loss > tolerated)
            better = jnp.isfinite(score) & ((step < config.race_steps) | ((loss <= tolerated) & improves))
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), current, candidate.best)
        members = _update(candidate, head, sums, seen.pull, shared, config)
        found = (
            1.0 - jnp.trace(sums.counts[-1]) / shared.total,
            score,
            loss,
            selection.accuracy(held_out, clean.targets),
            seen.loss,
        )
        scores = dict(zip(HISTORY, found, strict=True))
        temperature = head.temperature[-1]
        candidate = Candidate(candidate.decay, candidate.bound, members, temperature, best, tolerated)
        return candidate, scores

    heads = heads._replace(direction=None)
    candidates, scores = jax.vmap(finish)(candidates, heads, seen, sums)
    return candidates, history | scores


def _look(
    members: Members,
    temperature: jax.Array,
    step: jax.Array,
    clean: CleanSet,
    shared: Shared,
    config: PurifyConfig,
) -> tuple[Head, Seen]:
    """What a candidate's members write with, at their lookahead; and what they say about the clean rows.

    Args:
        members: the classifiers.
        temperature: that calibrated them in the round before.
        step: the round.
        clean: the clean rows.
        shared: see `share`.
        config: the settings.

    Returns:
        Their heads, leaves [k + 1, ...]; what they say, held-out logits over the temperature that calibrates
        them now.
    """
    weights = members.optimizer.lookahead
    seen = clean_lib.ask(weights, clean)
    temperature = selection.fit_temperature(seen.held_out, clean.targets, temperature)
    left = jax.vmap(leverage.of, in_axes=(0, 0, None, None))
    head = Head(
        weights,
        members.transition,
        left(members.response.lookahead, members.information, shared.spectrum, shared.total),
        left(members.memory.lookahead, jnp.zeros_like(members.information), shared.spectrum, shared.total),
        jnp.broadcast_to(temperature, members.information.shape),
        _label_step(members, step, clean, shared, config) if config.ipc else None,
    )
    return head, seen._replace(held_out=seen.held_out / temperature)


def _label_step(
    members: Members, step: jax.Array, clean: CleanSet, shared: Shared, config: PurifyConfig
) -> jax.Array:
    """IPC's step on the labels of the round before, as a direction [k + 1, d, c]; see `posterior.Head`."""

    def gradient_of(moment, mask):
        val = ipc.Validation(clean.features, clean.targets, mask)
        return ipc.moment_gradient(moment, shared.ridge, val, config.entropy_weight)

    assert shared.label_unit is not None  # as wherever config.ipc is set, see `share`
    gradient = jax.vmap(gradient_of)(members.moment, clean.masks)
    # The loss is a mean of squares: times half the rows it has the curvature that sets the unit.
    length = config.label_lr * config.label_lr_decay**step * shared.label_unit
    size = jnp.where(step > 0, 0.5 * length * jnp.sum(clean.masks, axis=1), 0.0)
    return size[:, None, None] * gradient


def _sums(heads: Head, chunk: Chunk) -> posterior.Sums:
    """`posterior.sums` of the members of all candidates, leaves [s, k + 1, ...], in one pass."""
    shape = heads.leverage.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), heads)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), posterior.sums(flat, chunk))


def _hard_labels(heads: Head, train: Training) -> jax.Array:
    """Labels [s, n] that heads with leaves [s, ...] write, padding included."""
    small = jnp.uint8 if train.num_classes <= 256 else jnp.int32
    return rows.map_over(
        lambda chunk: jnp.argmax(posterior.write(heads, chunk).labels, axis=1).T.astype(small), train
    ).T


def _update(
    candidate: Candidate,
    heads: Head,
    sums: posterior.Sums,
    clean_pull: jax.Array,
    shared: Shared,
    config: PurifyConfig,
) -> Members:
    """The members of one candidate after their step; `clean_pull` [k + 1, d, c] is `Seen.pull`."""
    decay, bound = candidate.decay, candidate.bound
    classes = sums.pull.shape[-1]

    def update(member, weights, sums, clean_pull):
        gradient = sums.pull + decay * weights + config.val_weight * clean_pull
        information = leverage.fisher(sums.squares, shared.total, classes)
        follow = partial(leverage.respond, information=information, spectrum=shared.spectrum, decay=decay)
        return Members(
            eac.nesterov_step(member.optimizer, gradient, bound),
            follow(member.response),
            follow(member.memory, drive=0.0),
            transitions(sums.counts, config),
            information,
            sums.moment,
        )

    return jax.vmap(update)(candidate.members, heads.weights, sums, clean_pull)


def transitions(counts: jax.Array, config: PurifyConfig) -> jax.Array:
    """T [c, c] from soft counts; uniform, so that given labels carry no evidence, in the ablation."""
    if not config.posterior:
        return jnp.full_like(counts, 1.0 / counts.shape[-1])
    return transition.transition_matrix(counts)
