"""Chooses the final labels (purified, a probe's or the given ones) by accuracy on held-out clean rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import reliability, scores
from dmlp_jax.purifier.base.ridge import HIGHEST
from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.posterior import transition
from dmlp_jax.purifier.probes import PROBES, Probe
from dmlp_jax.purifier.result import HeldOut, Outcome
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews
from dmlp_jax.purifier.rows.scaling import LinearClassifier


class Choice(NamedTuple):
    """The final labels, their classifier and their scores.

    Attributes:
        probs: distributions over the classes of the training rows, padding included, [rows, c].
        guesses: most probable classes according to each of `PROBES`, [rows, 3] int32.
        quality: see `PurifyResult.label_quality`, [rows].
        counts: weighted soft counts of `probs` against given labels, [c, c].
        confidence: weighted sum over rows of their largest probability, scalar.
        given_right: weighted sum over rows of `quality`, scalar.
        classifier: linear head for raw features.
        score: score of the labels on held-out clean rows, see `PurifyResult.scores`.
        others: the same of the labels by each of `PROBES`, and of the given labels, [4] each.
        reliability: reliability of their confidence there, see `PurifyResult.reliability`.
        source: where the labels come from, an index of `SOURCES`, int32.
    """

    probs: jax.Array
    guesses: jax.Array
    quality: jax.Array
    counts: jax.Array
    confidence: jax.Array
    given_right: jax.Array
    classifier: LinearClassifier
    score: HeldOutScore
    others: HeldOutScore
    reliability: dict[str, jax.Array]
    source: jax.Array


def choose(
    outcome: Outcome,
    train: Training,
    clean: CleanSet,
    probes: tuple[Probe, ...],
    reviews: Reviews | None,
    weight: jax.Array,
    informative: jax.Array | None,
) -> Choice:
    """Compares purified labels with the trivial baselines on held-out clean rows, and takes the better ones.

    Args:
        outcome: the result of a schedule.
        train: the training rows.
        clean: the clean rows.
        probes: the trivial baselines, in the order of `PROBES`.
        reviews: what the noisy source gave to the clean rows, or None.
        weight: of the clean rows in counts, [m].
        informative: whether the features tell the classes at all, bool: otherwise nothing can be better than
            the given labels. None keeps the purified labels, whatever the scores.
    """
    held_out = outcome.held_out
    weight = weight if held_out is None else held_out.weight
    trust = None if held_out is None else held_out.given_confidence
    others = _baselines(probes, reviews, weight, clean, trust)
    if held_out is None:
        source = jnp.int32(0)
        score, bins = scores.unknown_score(), reliability.unknown()
    else:
        own, hits = held_out.hits.astype(jnp.float32), others.hits[:, :: held_out.stride].astype(jnp.float32)
        if reviews is not None:
            # Where the given label is unknown, it is taken to be as good as the purified one.
            hits = hits.at[-1].set(jnp.where(reviews.known > 0, hits[-1], own))
        better = best_source(own, hits, weight[:: held_out.stride], outcome.margin)
        source = jnp.int32(0)
        if informative is not None:
            source = jnp.where(informative, better, len(PROBES) + 1).astype(jnp.int32)
        score, bins = jax.tree.map(
            lambda own, other: jnp.concatenate([own[None], other])[source],
            (held_out.score, held_out.reliability),
            (others.score, others.reliability),
        )
    weights = jnp.stack([probe.weights[-1] for probe in probes])
    (probs, guesses, quality), (counts, confidence, given_right) = chunks.visit(
        lambda chunk, own: _label(source, *outcome.write(chunk, own), weights, chunk), train, outcome.rows
    )
    # All classifiers take rows of the same scaling. Given labels have none, so the purifier's is returned.
    head = outcome.classifier
    if informative is not None:
        kernel = jax.lax.select_n(source, head.kernel, *weights[:, :-1], head.kernel)
        bias = jax.lax.select_n(source, head.bias, *weights[:, -1], head.bias)
        head = head._replace(kernel=kernel, bias=bias)
    return Choice(
        probs=probs,
        guesses=guesses,
        quality=quality,
        counts=counts,
        confidence=confidence,
        given_right=given_right,
        classifier=head,
        score=score,
        others=others.score,
        reliability=bins,
        source=source,
    )


def best_source(
    hits: jax.Array, others: jax.Array, weight: jax.Array | None = None, margin: float = 0.0
) -> jax.Array:
    """0 for the purified labels, else one plus the index of the labels that replace them; scalar int32.

    A probe must be clearly better on the held-out clean rows. The given labels, where they are known for the
    clean rows, need only be better by `margin`: leaving them alone is the safe choice.

    Args:
        hits: whether the purified label of each clean row is right, or the probability of that, [m].
        others: whether the labels of the probes and, if known, the given labels are right, [k, m].
        weight: of the rows, [m], see `scores.counted`; 1 by default.
        margin: standard errors by which the given labels must be better.
    """
    others, hits = others.astype(jnp.float32), hits.astype(jnp.float32)
    is_given = jnp.arange(len(others)) >= len(PROBES)
    better = jnp.where(
        is_given,
        scores.clearly_better(others, hits, margin, weight, added=1.0),
        scores.clearly_better(others, hits, weight=weight),
    )
    value = jnp.where(better, scores.weighted_mean(others, weight), -2.0)
    return jnp.where(jnp.any(better), jnp.argmax(value) + 1, 0).astype(jnp.int32)


def _baselines(
    probes: tuple[Probe, ...],
    reviews: Reviews | None,
    weight: jax.Array,
    clean: CleanSet,
    trust: jax.Array | None,
) -> HeldOut:
    """Scores the probes on clean rows that they did not train on, and the given labels.

    Given labels that are not known there score `UNKNOWN`, and hit nothing.

    Args:
        probes: in the order of `PROBES`.
        reviews: what the clean rows were given, or None.
        weight: of the clean rows in counts, [m].
        clean: the clean rows.
        trust: see `HeldOut.given_confidence`.

    Returns:
        The scores, leaves [k, ...], k the number of baselines.
    """
    logits, of_probes = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((probe.held_out, probe.score) for probe in probes)
    )
    hits = jnp.argmax(logits, axis=-1) == clean.labels
    of_probes = HeldOutScore(of_probes.cross_entropy, *scores.counted(hits, weight))
    bins = jax.vmap(reliability.of_predictions, in_axes=(0, None, None))(logits, clean.targets, weight)
    if reviews is None:
        of_given = jnp.zeros_like(hits[0]), scores.unknown_score(), reliability.unknown()
    else:
        kept = jnp.sum(reviews.given * clean.targets, axis=1)
        counting = reviews.known * weight
        score = HeldOutScore(jnp.float32(scores.UNKNOWN), *scores.counted(kept, counting))
        trust = jnp.ones_like(kept) if trust is None else trust
        of_given = kept > 0, score, reliability.binned(trust, kept, counting)
    hits, of_all, bins = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b[None]]), (hits, of_probes, bins), of_given
    )
    return HeldOut(hits, of_all, bins, 1, weight)


def _label(
    source: jax.Array,
    purified: jax.Array,
    quality: jax.Array | None,
    probe_weights: jax.Array,
    chunk: Chunk,
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """Chosen labels of a chunk, the probes' classes, label quality; and the three sums of `Choice`.

    Args:
        source: which labels to take, an index of `SOURCES`.
        purified: the schedule's labels [b, c].
        quality: of the given labels, [b]; None takes the last probe's probability of them.
        probe_weights: weights of the probes, [3, d, c].
        chunk: the rows.
    """
    logits = jnp.einsum("bd,pdc->pbc", chunk.features, probe_weights, precision=HIGHEST)
    of_probes = jax.nn.softmax(logits)
    probs = jax.lax.select_n(source, purified, *of_probes, chunk.given)
    if quality is None:
        quality = jnp.sum(of_probes[-1] * chunk.given, axis=1)
    guesses = jnp.argmax(logits, axis=-1).T.astype(jnp.int32)
    counts = transition.soft_counts(probs, chunk.given, chunk.weight)
    confidence, given_right = (jnp.dot(chunk.weight, row) for row in (jnp.max(probs, axis=-1), quality))
    quality = jnp.clip(quality, 0.0, 1.0)  # rounding
    return (probs, guesses, quality), (counts, confidence, given_right)
