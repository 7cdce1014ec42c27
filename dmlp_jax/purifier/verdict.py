"""From what a schedule leaves to labels: which candidate is taken, at which round, or which baseline."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import ipc, paper, posterior, scaling, selection, transition
from dmlp_jax.purifier.baselines import CleanSet, Probe
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.ridge import matmul
from dmlp_jax.purifier.scaling import LinearClassifier
from dmlp_jax.purifier.selection import HeldOutScore
from dmlp_jax.purifier.state import Snapshot, Training


class Verdict(NamedTuple):
    """The outcome of a purification; the fields are those of `PurifyResult`.

    Attributes:
        probs: label distributions [n, c].
        classifier: linear head for raw features.
        transition: estimate of p(given | true), [c, c].
        score: of the outcome on held-out clean rows.
        history: arrays [steps].
        chosen: 'candidate' and 'step', int32.
    """

    probs: jax.Array
    classifier: LinearClassifier
    transition: jax.Array
    score: HeldOutScore
    history: dict[str, jax.Array]
    chosen: dict[str, jax.Array]


def of_default(
    train: Training,
    clean: CleanSet,
    probes: tuple[Probe, ...],
    mean: jax.Array,
    val_given_labels: jax.Array | None,
    config: PurifyConfig,
) -> Verdict:
    """Runs the posterior schedule and lets the held-out clean rows decide; see `_choose`.

    Args:
        train: the training rows, standardised.
        clean: the clean rows.
        probes: the trivial baselines; the schedule starts from the first.
        mean: of the raw training features [d].
        val_given_labels: what the noisy source said of the clean rows [m], or None.
        config: the settings.
    """
    lasts, bests, history = posterior.run(train, clean, probes[0], config)
    count = lasts.loss.shape[0]
    options = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), lasts, bests)
    option, probe = _choose(options, probes, clean) if config.selection else (0, -1)
    chosen = jax.tree.map(lambda leaf: leaf[option], options)
    temperature = selection.fit_temperature(chosen.held_out, clean.targets)
    logits = matmul(train.features, chosen.weights)
    probs = posterior.write(logits, chosen.leverage, temperature, chosen.transition, train, config)
    head, held_out = chosen.weights / temperature, chosen.held_out / temperature

    # The floor: a trivial baseline that is clearly better gives the labels, as it is.
    fallen = jnp.asarray(probe >= 0)
    floor = jax.tree.map(lambda *leaves: jnp.stack(leaves)[probe], *probes)
    plain = jax.nn.softmax(matmul(train.features, floor.weights[-1]))
    probs = jnp.where(fallen, plain, probs)
    head = jnp.where(fallen, floor.weights[-1], head)
    held_out = jnp.where(fallen, floor.held_out, held_out)

    noise = transition.transition_matrix(transition.soft_counts(probs, train.given, train.weight))
    if val_given_labels is not None and config.posterior:
        held_out = jnp.where(fallen, held_out, held_out + jnp.log(noise).T[val_given_labels])
    candidate = option % count
    return Verdict(
        probs=probs,
        classifier=scaling.linear_classifier(head, mean),
        transition=noise,
        score=selection.score(held_out, clean.targets),
        history={name: values[:, candidate] for name, values in history.items()},
        chosen={
            "candidate": jnp.where(fallen, count + probe, candidate).astype(jnp.int32),
            "step": jnp.where(fallen, 0, chosen.step).astype(jnp.int32),
        },
    )


def _choose(options: Snapshot, probes: tuple[Probe, ...], clean: CleanSet) -> tuple[jax.Array, jax.Array]:
    """The option that gives the labels, and the probe that replaces it, -1 for none; scalars.

    The first option, the first candidate at its last round, is the default; another one must be clearly
    better on held-out rows. A probe must be clearly better than what was chosen and get more rows right.

    Args:
        options: snapshots, leaves [k, ...].
        probes: the trivial baselines.
        clean: the clean rows.
    """
    margins = selection.clearly_better(options.held_out[0], options.held_out, clean.targets)
    option = jnp.where(jnp.max(margins) > 0, jnp.argmax(margins), 0)
    held_out = options.held_out[option]
    others = jnp.stack([probe.held_out for probe in probes])
    margins = selection.clearly_better(held_out, others, clean.targets)
    truth = jnp.argmax(clean.targets, axis=-1)

    def right(logits):
        return jnp.sum(jnp.argmax(logits, axis=-1) == truth, axis=-1)

    margins = jnp.where(right(others) > right(held_out), margins, -1.0)
    return option, jnp.where(jnp.max(margins) > 0, jnp.argmax(margins), -1)


def of_paper(outcome: paper.Result, train: Training, config: PurifyConfig) -> Verdict:
    """The paper's labels on the simplex; every clean row was trained on, so nothing is held out."""
    probs = ipc.to_simplex(outcome.labels)
    counts = transition.soft_counts(probs, train.given, train.weight)
    weights = jnp.mean(outcome.weights, axis=0)
    unknown = jnp.float32(jnp.nan)
    return Verdict(
        probs=probs,
        classifier=LinearClassifier(
            weights[:-1], weights[-1], jnp.zeros_like(weights[:-1, 0]), jnp.float32(0)
        ),
        transition=transition.transition_matrix(counts),
        score=HeldOutScore(unknown, unknown),
        history=outcome.history,
        chosen={"candidate": jnp.int32(0), "step": jnp.int32(config.steps)},
    )
