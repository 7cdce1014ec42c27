"""From what a schedule leaves to labels, or to a trivial baseline where that is clearly better."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import reliability
from dmlp_jax.purifier.base import scores as selection
from dmlp_jax.purifier.base.ridge import HIGHEST, matmul
from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.paper import ipc
from dmlp_jax.purifier.paper import schedule as paper
from dmlp_jax.purifier.posterior import classifier_errors, e_step, lda, race, transition
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.state import Precomputed
from dmlp_jax.purifier.probes import PROBES, Probe
from dmlp_jax.purifier.rows import chunks, scaling
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.scaling import LinearClassifier

# Most triples of a clean row and two classes gone through to judge the labels; with more, rows are left out.
TRIPLES = 2**31


class Labels(NamedTuple):
    """Labels of the training rows.

    Attributes:
        probs: the outcome, distributions [rows, c].
        guesses: most probable classes according to each of `PROBES`, [rows, 3] int32.
    """

    probs: jax.Array
    guesses: jax.Array


class Totals(NamedTuple):
    """Sums over the training rows, by weight.

    Attributes:
        counts: soft counts of the outcome against given labels, [c, c].
        confidence: of the outcome's largest probabilities, scalar.
    """

    counts: jax.Array
    confidence: jax.Array


class Choice(NamedTuple):
    """The outcome of a purification.

    Attributes:
        labels: of the training rows, padding included.
        totals: sums over them.
        classifier: linear head for raw features.
        score: of the outcome on held-out clean rows, see `PurifyResult.scores`.
        reliability: of its confidence there, see `PurifyResult.reliability`.
        history: arrays [steps].
        chosen: 'source', 'candidate', 'step' and 'refits', int32, see `PurifyResult.chosen`.
    """

    labels: Labels
    totals: Totals
    classifier: LinearClassifier
    score: HeldOutScore
    reliability: dict[str, jax.Array]
    history: dict[str, jax.Array]
    chosen: dict[str, jax.Array]


def of_default(
    train: Training,
    clean: CleanSet,
    probes: tuple[Probe, ...],
    shared: Precomputed,
    val_given_labels: jax.Array | None,
    config: PurifyConfig,
) -> Choice:
    """Runs the schedule and sets its labels against the trivial baselines on held-out clean rows.

    Args:
        train: the training rows.
        clean: the clean rows.
        probes: the trivial baselines; the schedule starts from the last.
        shared: see `schedule.share`.
        val_given_labels: what the noisy source said of the clean rows [m], or None.
        config: the settings.
    """
    best, candidate, history = race.run(train, clean, probes[-1], shared, config)
    best, refits = lda.refine(best, train, clean, shared, config)
    last = jax.tree.map(lambda leaf: leaf[-1], best.head)
    noise, head, logits = classifier_errors.separate_classifier_errors(last, best, clean, config)
    trusted = head.transition

    truth = clean.labels
    others = [jnp.argmax(probe.held_out, axis=-1) == truth for probe in probes]
    scores = [probe.score for probe in probes]
    bins = [reliability.of_predictions(probe.held_out, clean.targets) for probe in probes]
    if val_given_labels is None:
        hits, own_bins = _expected(logits, noise, trusted, clean)
        others = [hit[:: _stride(clean)] for hit in others]
        loss = -selection.expected_score(logits, noise, clean.labels, trusted)
        own = HeldOutScore(loss, jnp.mean(hits))
    else:
        held_out = logits + jnp.log(trusted).T[val_given_labels]
        hits = jnp.argmax(held_out, axis=-1) == truth
        others.append(val_given_labels == truth)
        scores.append(HeldOutScore(jnp.float32(jnp.nan), jnp.mean(others[-1].astype(jnp.float32))))
        own = selection.score(held_out, clean.targets)
        own_bins = reliability.of_predictions(held_out, clean.targets)
        kept = others[-1].astype(jnp.float32)
        bins.append(reliability.binned(jnp.ones_like(kept), kept))
    option = _choose(hits, jnp.stack(others)) if config.selection else jnp.int32(0)

    probe_weights = jnp.stack([probe.weights[-1] for probe in probes])
    labels, totals = chunks.visit(lambda chunk: _settle(option, head, probe_weights, chunk), train)
    weights = last.weights / last.temperature
    # The given labels have no classifier of their own.
    weights = jax.lax.select_n(option, weights, *probe_weights, weights)
    score, in_bins = jax.tree.map(
        lambda *values: jnp.stack(values)[option],
        (own, own_bins),
        *zip(scores, bins, strict=True),
    )
    chosen = {"source": option, "candidate": candidate, "step": best.step, "refits": refits}
    classifier = scaling.linear_classifier(weights, train.mean)
    return Choice(labels, totals, classifier, score, in_bins, history, chosen)


def _stride(clean: CleanSet) -> int:
    """How far apart the clean rows are that are asked what their label would be under each given label."""
    count, classes = clean.targets.shape
    return -(-count * classes**2 // TRIPLES)


def _expected(
    logits: jax.Array, noise: jax.Array, trusted: jax.Array, clean: CleanSet
) -> reliability.Expected:
    """`reliability.expected` of every `_stride`th clean row; the bins count all rows."""
    stride = _stride(clean)
    found = reliability.expected(logits[::stride], clean.targets[::stride], noise, trusted)
    each = logits.shape[0] / found.hits.shape[0]
    return found._replace(bins={name: each * values for name, values in found.bins.items()})


def _settle(option: jax.Array, head: Head, probe_weights: jax.Array, chunk: Chunk) -> tuple[Labels, Totals]:
    """Labels and totals of a chunk.

    Args:
        option: whose labels to take, see `_choose`.
        head: what purified them.
        probe_weights: of the probes, [3, d, c].
        chunk: the rows.
    """
    written = e_step.write(jax.tree.map(lambda leaf: leaf[None], head), chunk).labels[0].T
    logits = jnp.einsum("bd,pdc->pbc", chunk.features, probe_weights, precision=HIGHEST)
    probs = jax.lax.select_n(option, written, *jax.nn.softmax(logits), chunk.given)
    return Labels(probs, _guesses(logits)), _totals(probs, chunk.given, chunk.weight)


def _guesses(logits: jax.Array) -> jax.Array:
    """Most probable classes [b, p] of logits [p, b, c]."""
    return jnp.argmax(logits, axis=-1).T.astype(jnp.int32)


def _totals(probs: jax.Array, given: jax.Array, weight: jax.Array) -> Totals:
    return Totals(transition.soft_counts(probs, given, weight), jnp.dot(weight, jnp.max(probs, axis=-1)))


def _choose(hits: jax.Array, others: jax.Array) -> jax.Array:
    """0 for the purified labels, else one plus the index of what replaces them; scalar int32.

    A probe must be clearly better on the held-out clean rows. The given labels, where they are known for the
    clean rows, need only be better: not to touch them is the safe choice.

    Args:
        hits: whether the purified label of each clean row is right, or how probably, [m].
        others: whether those of the probes are, and of the given labels if known, [k, m].
    """
    others, hits = others.astype(jnp.float32), hits.astype(jnp.float32)
    gains = others - hits
    is_given = jnp.arange(len(others)) >= len(PROBES)
    better = jnp.where(is_given, jnp.mean(gains, axis=1) > 0, selection.clearly_better(others, hits))
    value = jnp.where(better, jnp.mean(others, axis=1), -1.0)
    return jnp.where(jnp.any(better), jnp.argmax(value) + 1, 0).astype(jnp.int32)


def of_paper(
    outcome: paper.Result, given: jax.Array, train: Training, probes: tuple[Probe, ...], config: PurifyConfig
) -> Choice:
    """The paper's labels on the simplex; every clean row was trained on, so nothing is held out.

    Args:
        outcome: of the paper's schedule.
        given: given labels as distributions [n, c].
        train: the same rows, for the probes.
        probes: the trivial baselines.
        config: the settings.
    """
    probe_weights = jnp.stack([probe.weights[-1] for probe in probes])
    guesses = chunks.map_over(lambda chunk: _guesses(matmul(chunk.features, probe_weights)), train)
    probs = ipc.to_simplex(outcome.labels)
    totals = _totals(probs, given, train.weight.reshape(-1)[: len(given)])
    weights = jnp.mean(outcome.weights, axis=0)
    head = LinearClassifier(weights[:-1], weights[-1], jnp.zeros_like(weights[:-1, 0]), jnp.float32(0))
    unknown = HeldOutScore(jnp.float32(jnp.nan), jnp.float32(jnp.nan))
    zero = jnp.int32(0)
    chosen = {"source": zero, "candidate": zero, "step": jnp.int32(config.steps), "refits": zero}
    bins = reliability.unknown()
    return Choice(Labels(probs, guesses), totals, head, unknown, bins, outcome.history, chosen)
