"""Runs the rounds that turn votes of several annotators into labels, with or without clean rows.

In every round kernel ridge regression learns from the labels of the round before (Eq. 4). Then five numbers
of the vote model (`vote_model.py`) are fitted to what was held out, and the model labels the training rows
anew. Two things are held out:

- clean rows, from classifiers that did not train on them (the outer loss, Eq. 6). Those whose votes are
  known show what votes are worth;
- votes. The model predicts one vote of a row from its features and the row's other votes, through the
  transition matrix of who gave it. This needs no clean row, and it shows how far votes repeat each other.

The likelihood of a held-out vote is a mixture over the true class, so its weights are fitted by expectation
maximisation: the posterior of the true class with the held-out vote is the target for the one without.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.annotators import noise as noise_lib
from dmlp_jax.purifier.annotators import vote_model
from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.annotators.noise import AnnotatorNoise
from dmlp_jax.purifier.annotators.vote_model import Sums, VoteModel
from dmlp_jax.purifier.base import conditional_logit, masked, reliability, ridge, scores
from dmlp_jax.purifier.base.conditional_logit import ConditionalLogit
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.temperature import smoothed
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.result import HeldOut, Outcome
from dmlp_jax.purifier.reviewed import class_maps, evidence, kernel_ridge
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed.kernel_ridge import KernelRidge
from dmlp_jax.purifier.reviewed.label_model import leave_one_out
from dmlp_jax.purifier.rows import chunks, clean_set, sample
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews
from dmlp_jax.purifier.rows.scaling import linear_classifier

ROUNDS = 5
# Most training rows to which the numbers are fitted, and the number of clean rows that they are worth.
SAMPLE_ROWS = 4096
SAMPLE_WORTH = 200.0
# Prior of the weights: mean and standard deviation of each prediction's, and of b.
PREDICTIONS = ((0.4, 0.3), (0.4, 0.3), (0.1, 0.3))
VOTES = (0.8, 0.3)
# Steps of expectation maximisation, each with so many Newton steps.
EXPECTATIONS, NEWTON = 10, 2
# Standard deviation of the prior on an inverse temperature: none.
WIDE = 1e3
# L2 strength of the linear classifier that is returned, in mean eigenvalues of the Gram matrix.
HEAD_PENALTY = 0.01


class _Sample(NamedTuple):
    """Training rows to which the numbers of the model are fitted.

    Attributes:
        chunk: features [s, d + 1] and weights [s]; given labels are not used.
        similarities: k(x), [s, p + 1].
        votes: [s, a].
        held: one vote of each row, drawn in turn, [s, a]; -1 elsewhere.
        weight: what each row counts for in the fit, [s]; 0 for places without a row.
    """

    chunk: Chunk
    similarities: jax.Array
    votes: jax.Array
    held: jax.Array
    weight: jax.Array


class _Round(NamedTuple):
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


def run(
    train: Training,
    clean: CleanSet,
    reviews: Reviews,
    votes: jax.Array,
    clean_votes: jax.Array | None,
    probe: Probe,
    count: int,
    total: jax.Array,
    gram: jax.Array,
    config: PurifyConfig,
) -> tuple[Outcome, AnnotatorNoise]:
    """Labels the training rows; returns the outcome and the noise of the annotators.

    Args:
        train: the training rows; their given labels are not used.
        clean: the clean rows, perhaps none that is real.
        reviews: their majority votes, and which rows were drawn at random.
        votes: of the training rows, [n, a].
        clean_votes: of the clean rows, [m, a]; None where they are unknown.
        probe: the probe of the clean rows alone.
        count: number of training rows on this device.
        total: sum of the row weights.
        gram: F^T F of the standardised features, [d, d].
        config: the settings.
    """
    kernel = kernel_lib.make(train, count, config.kernel_points)
    mapped = kernel_lib.clean_rows(kernel, clean)

    def of_shares(chunk, votes):
        similar = kernel_lib.similarities(kernel, chunk.features)
        weighted = chunk.weight[:, None] * similar
        centred = votes_lib.shares(votes, train.num_classes) - 1.0 / train.num_classes
        return None, (matmul(weighted.T, similar), matmul(weighted.T, centred))

    of_kernel, centred = chunks.visit(of_shares, train, votes)[1]
    solver = kernel_ridge.prepare(kernel, of_kernel, mapped, total, config.val_weight)
    some = _sample(train, kernel, votes, count)
    weights = kernel_ridge.solve(solver, jnp.broadcast_to(centred, solver.clean_moment.shape))

    def first(_):
        return chunks.visit(
            lambda chunk, votes: (
                None,
                vote_model.first_sums(weights, solver.leverage, kernel, chunk, votes),
            ),
            train,
            votes,
        )[1]

    def following(state):
        found, on_shares = state
        return chunks.visit(
            lambda chunk, votes: (
                None,
                vote_model.sums(
                    vote_model.posterior(found.model, kernel, chunk, votes, on_shares), chunk, votes
                ),
            ),
            train,
            votes,
        )[1]

    def fit(weights, sums, before, is_first):
        return _fit(weights, sums, before, is_first, some, solver, clean, mapped, reviews, clean_votes, probe)

    def body(state, step):
        sums = jax.lax.cond(step == 0, first, following, (state, step == 1))
        trained = jnp.where(step == 0, weights, kernel_ridge.solve(solver, sums.moment))
        shares = votes_lib.shares(some.votes, train.num_classes)
        before = jnp.where(step == 0, shares, state.labels)
        found = fit(trained, sums, before, step == 0)
        moved = 1.0 - jnp.sum(some.weight * jnp.sum(found.labels * shares, axis=1)) / jnp.maximum(
            jnp.sum(some.weight), 1e-6
        )
        return found, moved

    shapes = jax.eval_shape(
        lambda: fit(weights, first(None), votes_lib.shares(some.votes, train.num_classes), jnp.bool_(True))
    )
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    last, moved = jax.lax.scan(body, empty, jnp.arange(ROUNDS))
    own = last.model._replace(
        ridge=last.model.ridge[-1:],
        leverage=last.model.leverage[-1:],
        maps=jax.tree.map(lambda leaf: leaf[-1:], last.model.maps),
        probe=last.model.probe[-1:],
    )

    def label(chunk, votes):
        return vote_model.posterior(own, kernel, chunk, votes).labels[0].T

    def write(chunk: Chunk, votes: jax.Array) -> tuple[jax.Array, jax.Array]:
        labels = label(chunk, votes)
        return labels, jnp.sum(labels * chunk.given, axis=1)

    outcome = Outcome(
        write=write,
        rows=votes,
        classifier=linear_classifier(_head(label, train, votes, gram, some, last.labels), train.mean),
        held_out=None if clean_votes is None else _held_out(last, clean, reviews),
        history={"changed": moved},
        chosen={"candidate": jnp.int32(0), "step": jnp.int32(ROUNDS), "refits": jnp.int32(0)},
        reviewed_rounds=ROUNDS,
        margin=1.0,
    )
    return outcome, last.model.noise


def _sample(train: Training, kernel: kernel_lib.Kernel | None, votes: jax.Array, count: int) -> _Sample:
    place, size = sample.places(train, count, SAMPLE_ROWS)
    # An empty place sums to 0 and becomes -1, no vote.
    features, weight, used, raised = sample.gather(train, place, size, votes + 1)
    some = jnp.round(raised).astype(jnp.int32) - 1
    known = some >= 0
    number = jnp.sum(known, axis=1)
    turn = jnp.mod(jnp.arange(size), jnp.maximum(number, 1))
    held = known & (jnp.cumsum(known, axis=1) - 1 == turn[:, None])
    counted = used * weight * (number > 0)
    counted *= SAMPLE_WORTH / jnp.maximum(jnp.sum(counted), 1e-6)
    return _Sample(
        Chunk(features, jnp.zeros((size, 0)), weight),
        kernel_lib.similarities(kernel, features),
        some,
        jnp.where(held, some, votes_lib.NONE),
        counted,
    )


def _fit(
    weights: jax.Array,
    sums: Sums,
    before: jax.Array,
    is_first: jax.Array,
    some: _Sample,
    solver: KernelRidge,
    clean: CleanSet,
    mapped: CleanSet,
    reviews: Reviews,
    clean_votes: jax.Array | None,
    probe: Probe,
) -> _Round:
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
    scales = jax.lax.map(lambda logits: _inverse_temperature(logits, targets, weight, offset), predictions)
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
    combination = _combine(features, clean.targets, held, weight, offset)
    model = VoteModel(weights, solver.leverage, maps, probe.weights, scales, combination, found)
    counting = reviews.random * clean.real * jnp.exp(-matmul(clean.targets, shift[:, None])[:, 0])

    def posterior(features, offset):
        logits = matmul(features, combination.theta[:, None])[:, :, 0] + offset
        return conditional_logit.with_lapses(jax.nn.softmax(logits), combination.lapse)

    rows = len(clean.labels)
    with_all = jnp.concatenate([features[rows:, :, :-1], all_votes[:, :, None]], axis=-1)
    of_sample = posterior(with_all, offset[rows:])
    return _Round(model, of_sample, jnp.log(posterior(features[:rows], offset[:rows])), counting)


def _combine(
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


def _inverse_temperature(
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


def _head(
    label: Any, train: Training, votes: jax.Array, gram: jax.Array, some: _Sample, targets: jax.Array
) -> jax.Array:
    """Weights [d + 1, c] of a linear classifier of the final labels, calibrated on the sample's rows.

    Args:
        label: function of a chunk and its votes that returns labels [b, c].
        train: the training rows.
        votes: theirs.
        gram: F^T F, [d + 1, d + 1].
        some: the sample.
        targets: labels of the sample's rows, [s, c].
    """

    def moment(chunk, votes):
        centred = chunk.weight[:, None] * (label(chunk, votes) - 1.0 / train.num_classes)
        return None, matmul(chunk.features.T, centred)

    total = chunks.visit(moment, train, votes)[1]
    weights = ridge.solve(gram, HEAD_PENALTY * ridge.mean_eigenvalue(gram), total)
    logits = matmul(some.chunk.features, weights)
    scale = _inverse_temperature(logits, targets, some.weight, jnp.zeros_like(logits))
    return scale * weights


def _held_out(last: _Round, clean: CleanSet, reviews: Reviews) -> HeldOut:
    counting = last.counting * reviews.known
    hits = jnp.argmax(last.logits, axis=-1) == clean.labels
    bins = reliability.of_predictions(last.logits, clean.targets, counting)
    score = scores.score(last.logits, clean.targets, jnp.float32(1), counting)
    trust = jnp.sum(jnp.exp(last.logits) * reviews.given, axis=1)
    return HeldOut(hits, score, bins, 1, counting, trust)
