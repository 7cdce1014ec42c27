"""Runs the rounds that turn votes of several annotators into labels, with or without clean rows.

In every round kernel ridge regression learns from the labels of the round before (Eq. 4). Then four numbers
of the vote model (`vote_model.py`) are fitted to what was held out, and the model labels the training rows
anew. Two things are held out:

- clean rows, from classifiers that did not train on them (the outer loss, Eq. 6). Those whose votes are
  known show what votes are worth;
- votes. The model predicts one vote of a row from its features and the row's other votes, through the
  transition matrix of who gave it. This needs no clean row, and it shows how far votes repeat each other.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.annotators import fit as fit_lib
from dmlp_jax.purifier.annotators import held_out, vote_model
from dmlp_jax.purifier.annotators import votes as votes_lib
from dmlp_jax.purifier.annotators.fit import Round
from dmlp_jax.purifier.annotators.held_out import Sample
from dmlp_jax.purifier.annotators.noise import AnnotatorNoise
from dmlp_jax.purifier.base import reliability, ridge, scores
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.posterior.config import PurifyConfig
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.result import HeldOut, Outcome
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.reviewed import kernel_ridge
from dmlp_jax.purifier.rows import chunks
from dmlp_jax.purifier.rows.chunks import Chunk, Training
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews
from dmlp_jax.purifier.rows.scaling import linear_classifier

ROUNDS = 5
# L2 strength of the linear classifier that is returned, in mean eigenvalues of the Gram matrix.
HEAD_PENALTY = 0.01


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
    some = held_out.take(train, kernel, votes, count)
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
        return fit_lib.fit(
            weights, sums, before, is_first, some, solver, clean, mapped, reviews, clean_votes, probe
        )

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


def _head(
    label: Any, train: Training, votes: jax.Array, gram: jax.Array, some: Sample, targets: jax.Array
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
    scale = fit_lib.inverse_temperature(logits, targets, some.weight, jnp.zeros_like(logits))
    return scale * weights


def _held_out(last: Round, clean: CleanSet, reviews: Reviews) -> HeldOut:
    counting = last.counting * reviews.known
    hits = jnp.argmax(last.logits, axis=-1) == clean.labels
    bins = reliability.of_predictions(last.logits, clean.targets, counting)
    score = scores.score(last.logits, clean.targets, jnp.float32(1), counting)
    trust = jnp.sum(jnp.exp(last.logits) * reviews.given, axis=1)
    return HeldOut(hits, score, bins, 1, counting, trust)
