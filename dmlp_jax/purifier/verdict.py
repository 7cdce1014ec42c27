"""From what a schedule leaves to labels, or to a trivial baseline where that is clearly better."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import ipc, paper, posterior, rows, scaling, schedule, selection
from dmlp_jax.purifier.baselines import PROBES, CleanSet, Probe
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.rows import Training
from dmlp_jax.purifier.scaling import LinearClassifier
from dmlp_jax.purifier.selection import HeldOutScore
from dmlp_jax.purifier.state import Shared


class Verdict(NamedTuple):
    """The outcome of a purification; the fields are those of `PurifyResult`.

    Attributes:
        probs: label distributions [n, c], of the default preset with the padding [q * b, c].
        classifier: linear head for raw features.
        score: of the outcome on held-out clean rows, see `PurifyResult.scores`.
        history: arrays [steps].
        chosen: 'candidate' and 'step', int32.
    """

    probs: jax.Array
    classifier: LinearClassifier
    score: HeldOutScore
    history: dict[str, jax.Array]
    chosen: dict[str, jax.Array]


def of_default(
    train: Training,
    clean: CleanSet,
    probes: tuple[Probe, ...],
    shared: Shared,
    mean: jax.Array,
    val_given_labels: jax.Array | None,
    config: PurifyConfig,
) -> Verdict:
    """Runs the schedule and sets its labels against the trivial baselines on held-out clean rows.

    Args:
        train: the training rows, standardised.
        clean: the clean rows.
        probes: the trivial baselines; the schedule starts from the last.
        shared: see `schedule.share`.
        mean: of the raw training features [d].
        val_given_labels: what the noisy source said of the clean rows [m], or None.
        config: the settings.
    """
    best, candidate, history = schedule.run(train, clean, probes[-1], shared, config)
    heads = jax.tree.map(lambda leaf: leaf[None], best.head)
    written = rows.map_over(lambda chunk: posterior.write(heads, chunk).labels[0].T, train)
    given = train.given.reshape(written.shape)

    truth = jnp.argmax(clean.targets, axis=-1)
    others = [jnp.argmax(probe.held_out, axis=-1) == truth for probe in probes]
    if val_given_labels is None:
        hits = selection.expected_hits(best.held_out, best.head.transition, clean.targets)
        loss = -selection.expected_score(best.held_out, best.head.transition, clean.targets)
        own = HeldOutScore(loss, jnp.mean(hits))
    else:
        held_out = best.held_out + jnp.log(best.head.transition).T[val_given_labels]
        hits = jnp.argmax(held_out, axis=-1) == truth
        others.append(val_given_labels == truth)
        own = selection.score(held_out, clean.targets)
    option = _choose(hits, jnp.stack(others)) if config.selection else 0

    weights = best.head.weights / best.head.temperature
    outcomes = [lambda: (written, weights, own)]
    outcomes += [partial(_of_probe, probe, train) for probe in probes]
    unknown = jnp.float32(jnp.nan)
    outcomes.append(lambda: (given, weights, HeldOutScore(unknown, jnp.mean(others[-1].astype(jnp.float32)))))
    probs, weights, score = jax.lax.switch(option, outcomes)
    return Verdict(
        probs,
        scaling.linear_classifier(weights, mean),
        score,
        history,
        {
            "candidate": jnp.where(option > 0, len(config.weight_decay) + option - 1, candidate),
            "step": jnp.where(option > 0, 0, best.step),
        },
    )


def _of_probe(probe: Probe, train: Training) -> tuple[jax.Array, jax.Array, HeldOutScore]:
    """Labels [q * b, c], weights and score of a trivial baseline."""
    weights = probe.weights[-1]
    labels = rows.map_over(lambda chunk: jax.nn.softmax(matmul(chunk.features, weights)), train)
    return labels, weights, probe.score


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


def of_paper(outcome: paper.Result, config: PurifyConfig) -> Verdict:
    """The paper's labels on the simplex; every clean row was trained on, so nothing is held out."""
    weights = jnp.mean(outcome.weights, axis=0)
    unknown = jnp.float32(jnp.nan)
    head = LinearClassifier(weights[:-1], weights[-1], jnp.zeros_like(weights[:-1, 0]), jnp.float32(0))
    return Verdict(
        ipc.to_simplex(outcome.labels),
        head,
        HeldOutScore(unknown, unknown),
        outcome.history,
        {"candidate": jnp.int32(0), "step": jnp.int32(config.steps)},
    )
