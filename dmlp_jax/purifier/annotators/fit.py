"""Fits the numbers of the vote model to what was held out: clean rows, and one vote of each row of a sample.

The likelihood of a held-out vote is a mixture over the true class, so the weights are fitted by expectation
maximisation: the posterior of the true class with the held-out vote is the target for the one without.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.annotators import noise as noise_lib
from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.annotators.held_out import Sample
from dmlp_jax.purifier.annotators.vote_model import Sums, VoteModel
from dmlp_jax.purifier.base import conditional_logit, masked
from dmlp_jax.purifier.base.conditional_logit import ConditionalLogit
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.temperature import smoothed
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.reviewed import class_maps, evidence
from dmlp_jax.purifier.reviewed.kernel_ridge import KernelRidge
from dmlp_jax.purifier.reviewed.label_model import leave_one_out
from dmlp_jax.purifier.rows import clean_set
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews

# Prior of the weights: mean and standard deviation of each prediction's, and of b.
PREDICTIONS = ((0.4, 0.3), (0.4, 0.3), (0.1, 0.3))
VOTES = (0.8, 0.3)
# Steps of expectation maximisation, each with so many Newton steps.
EXPECTATIONS, NEWTON = 10, 2
# Standard deviation of the prior on an inverse temperature: none.
WIDE = 1e3


class Round(NamedTuple):
    """A fitted round.

    Attributes:
        model: leaves [k + 1, ...] where classifiers differ by fold.
        labels: distributions of the sample's rows, all votes seen, [s, c].
        logits: held-out log-probabilities of the clean rows, their votes seen, [m, c].
        counting: weight of each clean row in counts, [m].
    """

    model: VoteModel
    labels: jax.Array
    logits: jax.Array
    counting: jax.Array


def fit(
    weights: jax.Array,
    sums: Sums,
    before: jax.Array,
    is_first: jax.Array,
    some: Sample,
    solver: KernelRidge,
    clean: CleanSet,
    mapped: CleanSet,
    reviews: Reviews,
    clean_votes: jax.Array | None,
    probe: Probe,
) -> Round:
    """Fits the vote model to held-out clean rows and votes.

    Args:
        weights: of ridge regression, [k + 1, p + 1, c].
        sums: over the training rows.
        before: labels of the sample's rows that ridge regression was trained on, [s, c].
        is_first: whether it is the first round.
        some: the sample.
        solver: of ridge regression.
        clean: the clean rows.
        mapped: the same, mapped by the kernel.
        reviews: see `run`.
        clean_votes: likewise.
        probe: likewise.
    """
    maps = class_maps.fit(sums.scores)
    shift = evidence.class_share_shift(jnp.sum(sums.counts, axis=0), reviews, clean)
    analysed = matmul(weights, maps.weights).at[:, -1].add(maps.bias)
    of_clean = jnp.stack(
        [*(clean_set.held_out(own[:-1], mapped) for own in (weights, analysed)), probe.held_out]
    )
    raw = matmul(some.similarities, weights[-1])
    alone = leave_one_out(raw.T[None], before.T[None], solver.leverage[-1:], some.chunk.weight)[0].T
    of_sample = jnp.stack(
        [
            alone,
            matmul(alone, maps.weights[-1]) + maps.bias[-1],
            matmul(some.chunk.features, probe.weights[-1]),
        ]
    )
    offset = jnp.concatenate([reviews.random[:, None] * shift, jnp.zeros_like(raw)])
    predictions = jnp.concatenate([of_clean, of_sample], axis=1)
    targets = jnp.concatenate([smoothed(clean.targets), before])
    weight = jnp.concatenate([clean.real, some.weight])
    scales = jax.lax.map(lambda logits: inverse_temperature(logits, targets, weight, offset), predictions)
    predictions = jax.nn.log_softmax(scales[:, None, None] * predictions)

    # In the first round shares of votes would agree with the votes themselves.
    by_features = jax.nn.softmax(jnp.mean(predictions[:2, len(clean.labels) :], axis=0)).T
    counts = jnp.where(is_first, votes_lib.counts(by_features, some.votes, some.chunk.weight), sums.counts)
    found = noise_lib.estimate(counts)
    log_noise = jnp.log(found.own)
    all_votes = votes_lib.log_likelihood(log_noise, some.votes)
    held = votes_lib.log_likelihood(log_noise, some.held)
    told = jnp.zeros_like(clean.targets)
    known = jnp.zeros_like(clean.real)
    if clean_votes is not None:
        told = votes_lib.log_likelihood(log_noise, clean_votes)
        known = clean.real * reviews.known
    features = jnp.stack([*predictions, jnp.concatenate([told, all_votes - held])], axis=-1)
    weight = jnp.concatenate([known, some.weight])
    combination = combine(features, clean.targets, held, weight, offset)
    model = VoteModel(weights, solver.leverage, maps, probe.weights, scales, combination, found)
    counting = reviews.random * clean.real * jnp.exp(-matmul(clean.targets, shift[:, None])[:, 0])

    def posterior(features, offset):
        logits = matmul(features, combination.theta[:, None])[:, :, 0] + offset
        return conditional_logit.with_lapses(jax.nn.softmax(logits), combination.lapse)

    rows = len(clean.labels)
    with_all = jnp.concatenate([features[rows:, :, :-1], all_votes[:, :, None]], axis=-1)
    of_sample = posterior(with_all, offset[rows:])
    return Round(model, of_sample, jnp.log(posterior(features[:rows], offset[:rows])), counting)


def combine(
    features: jax.Array, clean_targets: jax.Array, held: jax.Array, weight: jax.Array, offset: jax.Array
) -> ConditionalLogit:
    """Fits the weights of the evidence by expectation maximisation.

    Args:
        features: evidence for clean rows, then for the sample's without the held-out vote, [m + s, c, 4].
        clean_targets: one-hot [m, c].
        held: log-likelihood of the held-out votes, [s, c].
        weight: of the rows, [m + s].
        offset: added to the logits, [m + s, c].
    """
    rows = clean_targets.shape[0]
    mean, deviation = jnp.asarray([*PREDICTIONS, VOTES], jnp.float32).T

    def step(_, state):
        logits = matmul(features[rows:], state.theta[:, None])[:, :, 0] + offset[rows:]
        true = jax.nn.softmax(logits + held)
        targets = jnp.concatenate([clean_targets, true])
        return conditional_logit.fit(
            features, targets, weight, offset, mean, deviation, steps=NEWTON, start=state
        )

    start = ConditionalLogit(mean, jnp.float32(0))
    return jax.lax.fori_loop(0, EXPECTATIONS, step, start)


def inverse_temperature(
    logits: jax.Array, targets: jax.Array, weight: jax.Array, offset: jax.Array
) -> jax.Array:
    """The inverse temperature that calibrates logits [r, c], positive; see `conditional_logit`."""
    real = (weight > 0).astype(logits.dtype)
    middle = masked.mean(jnp.mean(logits, axis=1), real)
    spread = masked.mean(jnp.mean((logits - middle) ** 2, axis=1), real)
    unit = jnp.maximum(jnp.sqrt(spread), jnp.finfo(logits.dtype).tiny)
    scaled = conditional_logit.fit(
        (logits / unit)[:, :, None], targets, weight, offset, jnp.ones(1), jnp.full(1, WIDE)
    )
    return jnp.maximum(scaled.theta[0], 0.01) / unit
