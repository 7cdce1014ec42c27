"""What of T is the classifier's own doing: told apart from noise by clean rows.

A prediction that is sure and wrong looks like a wrong label. So T, counted against predictions, has noise
even where the given labels have none: mistakes of a classifier that fits its rows badly are taken for theirs.
Clean rows tell how much of it, for they are training rows whose given label is known to be right. With N
the noise of T, its off-diagonal part, and r the mean of N's row sums, a prediction p is taken to be right up
to mistakes like it,

    p S,   S = I - (e / r) (diag(N 1) - N),

at the rate e that makes the clean labels likeliest. Then p S predicts the true label, and the given one
follows from it with a T' that has less noise: S T' is about T.

Where a class's labels are often given wrongly, and mostly as one other class, a classifier that has taken
some of that over is biased between the two. S would find that in every row, and leave the labels wrong. So
much noise of one kind is hardly the classifier's: it stays with the labels and is no part of N. With two
classes there is no other kind.

What S explains need not be explained by less confidence in every row any longer, so the temperature is fitted
together with it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import temperature as calibration
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.roots import bisect
from dmlp_jax.purifier.config import PurifyConfig
from dmlp_jax.purifier.posterior import label_shift
from dmlp_jax.purifier.posterior.e_step import Head
from dmlp_jax.purifier.posterior.state import Snapshot
from dmlp_jax.purifier.posterior.temperature_evidence import TemperatureEvidence
from dmlp_jax.purifier.posterior.transition import positive
from dmlp_jax.purifier.rows.clean_set import CleanSet

# Fall of a log-likelihood from its peak to the one-sided 95 % confidence limit, 1.645^2 / 2.
LIMIT = 1.353
# Greatest margin of e that counts as doubt, a noise rate: a few clean rows leave far more.
CAUTION = 0.02
# Steps of expectation maximisation for S and the temperature, on the clean rows.
ITERATIONS = 8
# Noise of one kind: one other class has more than this share of a class's labels, and of the wrong ones more
# than this way from an even share to all.
OFTEN, MOSTLY = 0.3, 0.5


class ErrorRate(NamedTuple):
    """The rate of T's noise that is the classifier's mistakes, scalars.

    Attributes:
        rate: e of the greatest likelihood.
        margin: how far its upper 95 % confidence limit is above, at most `CAUTION`.
    """

    rate: jax.Array
    margin: jax.Array


class SeparatedErrors(NamedTuple):
    """Predictions and noise, told apart.

    Attributes:
        temperature: what to divide calibrated logits by before S, scalar.
        confusion: S, [c, c].
        transition: T', [c, c].
        margin: see `Misfit`.
        logits: log(p S) of the clean rows, with their class shares, [m, c].
    """

    temperature: jax.Array
    error_matrix: jax.Array
    transition: jax.Array
    margin: jax.Array
    logits: jax.Array


def separate_classifier_errors(
    head: Head, best: Snapshot, clean: CleanSet, config: PurifyConfig
) -> tuple[jax.Array, Head, jax.Array]:
    """The head with the classifier's own mistakes told apart from those of the given labels.

    Args:
        head: of the member that has seen all clean rows.
        best: what the rounds leave.
        clean: the clean rows.
        config: the settings; without `posterior` T says nothing and stays as it is.

    Returns:
        T' as it most likely is, [c, c]; the head that writes the labels, whose T is the cautious one; and
        logits of the true class of the clean rows [m, c].
    """
    if not config.posterior:
        return head.transition, head, best.held_out
    evidence = best.evidence
    shift = label_shift.log_ratio(clean.targets, evidence.shares)
    relative = evidence._replace(log_temperature=evidence.log_temperature - jnp.log(head.temperature))
    found = fit(head.transition, best.held_out - shift, clean.targets, relative, shift)
    head = head._replace(
        transition=shrink_uncertain_noise(found.transition, found.margin),
        temperature=head.temperature * found.temperature,
        confusion=found.error_matrix,
        learned_transition=head.transition,
    )
    return found.transition, head, found.logits


def fit(
    matrix: jax.Array, logits: jax.Array, targets: jax.Array, evidence: TemperatureEvidence, shift: jax.Array
) -> SeparatedErrors:
    """S and the temperature that it asks for, by expectation maximisation over the class that was predicted.

    Given S, what a clean row's prediction meant is a distribution over classes, p_y' S[y', y_v]; the
    temperature that calibrates predictions for these targets is the next.

    Args:
        matrix: T, [c, c].
        logits: of clean rows that were held out, at the temperature that calibrates them, without the clean
            rows' class shares, [m, c].
        targets: one-hot [m, c].
        evidence: of the training rows, its log temperature relative to the one of `logits`.
        shift: see `label_shift.log_ratio`, [c].
    """

    def told_apart(temperature):
        probs = jax.nn.softmax(logits / temperature)
        found = error_rate(matrix, probs, targets, shift)
        return probs, found, error_matrix(matrix, found.rate)

    def body(_, temperature):
        probs, _, mixing = told_apart(temperature)
        meant = probs * matmul(targets, mixing.T)
        meant = meant / jnp.maximum(jnp.sum(meant, axis=1, keepdims=True), jnp.finfo(meant.dtype).tiny)
        # How much more frequent a predicted class is among clean rows.
        mixed = jnp.log(matmul(mixing, jnp.exp(shift)[:, None])[:, 0])
        return calibration.fit_temperature(logits, meant, evidence, temperature, mixed)

    temperature = jax.lax.fori_loop(0, ITERATIONS, body, jnp.ones((), logits.dtype))
    probs, found, mixing = told_apart(temperature)
    mended = jnp.log(jnp.maximum(matmul(probs, mixing), jnp.finfo(probs.dtype).tiny)) + shift
    return SeparatedErrors(temperature, mixing, remove_noise_rate(matrix, found.rate), found.margin, mended)


def error_rate(matrix: jax.Array, probs: jax.Array, targets: jax.Array, shift: jax.Array) -> ErrorRate:
    """The rates e that clean rows speak for: the likelihood of y_v under p_v S.

    Args:
        matrix: T, [c, c].
        probs: calibrated predictions for clean rows that were held out, taken for training rows, [m, c].
        targets: one-hot [m, c].
        shift: see `label_shift.log_ratio`, [c].
    """
    noise = _separable_noise(matrix)
    leaving, rate = jnp.sum(noise, axis=1), _rate(noise)
    tiny = jnp.finfo(probs.dtype).tiny
    change = (matmul(probs, noise) - probs * leaving) / rate
    # Class y is exp(shift_y) times as frequent among clean rows: of y_v, and of all classes for the norm.
    often = jnp.stack([targets * jnp.exp(shift), jnp.broadcast_to(jnp.exp(shift), targets.shape)])
    level, slope = jnp.sum(probs * often, axis=-1), jnp.sum(change * often, axis=-1)

    def log_likelihood(e):
        right, norm = jnp.log(jnp.maximum(level + e * slope, tiny))
        return jnp.sum(right - norm)

    def rises(e):
        right, norm = slope / jnp.maximum(level + e * slope, tiny)
        return jnp.sum(right - norm) > 0

    # Beyond, some row of S would not be a distribution.
    largest = jnp.minimum(rate / jnp.maximum(jnp.max(leaving), rate), 1.0)
    likeliest = bisect(rises, jnp.zeros_like(largest), largest, steps=20)
    height = log_likelihood(likeliest)
    limit = bisect(lambda e: log_likelihood(e) > height - LIMIT, likeliest, largest, steps=20)
    return ErrorRate(likeliest, jnp.minimum(limit - likeliest, CAUTION))


def error_matrix(matrix: jax.Array, rate: jax.Array) -> jax.Array:
    """S [c, c], p(true class | predicted class), for T [c, c] and a rate e."""
    noise = _separable_noise(matrix)
    mistakes = rate / _rate(noise) * noise
    return positive(jnp.eye(len(matrix), dtype=matrix.dtype) + mistakes - jnp.diag(jnp.sum(mistakes, axis=1)))


def remove_noise_rate(matrix: jax.Array, rate: jax.Array) -> jax.Array:
    """T' [c, c], p(given class | true class), for T [c, c] and a rate e: none where e is all of T's noise.

    This is S^-1 T where wrong labels are drawn alike from all other classes. Otherwise N keeps its pattern,
    at the rate that would be left then: S^-1 T itself may have negative entries, and S no inverse.

    Args:
        matrix: T.
        rate: e, scalar.
    """
    return _with_less_noise(matrix, _separable_noise(matrix), rate)


def shrink_uncertain_noise(matrix: jax.Array, margin: jax.Array) -> jax.Array:
    """T' [c, c] with less noise, so that in doubt labels are left alone, shrunk like James and Stein (1961).

    Noise at a rate no greater than the margin by which it is uncertain may be none and goes; from a greater
    rate r goes margin^2 / r.
    """
    noise = _off_diagonal(matrix)
    return _with_less_noise(matrix, noise, margin * jnp.minimum(margin / _rate(noise), 1.0))


def _with_less_noise(matrix: jax.Array, noise: jax.Array, less: jax.Array) -> jax.Array:
    """T [c, c] with a part of its noise [c, c] made less by a rate."""
    rate, classes = _rate(noise), len(matrix)
    share = jnp.minimum(less / rate, 1.0)
    # Noise of this rate leaves a label that says nothing.
    chance = (classes - 1) / classes
    kept = (1.0 - share) / jnp.maximum(1.0 - share * jnp.minimum(rate / chance, 1.0), 1e-6)
    gone = (1.0 - jnp.where(share < 1.0, kept, 0.0)) * noise
    return positive(matrix - gone + jnp.diag(jnp.sum(gone, axis=1)))


def _separable_noise(matrix: jax.Array) -> jax.Array:
    """The noise of T [c, c], without those classes where it is much and mostly of one kind, [c, c]."""
    noise = _off_diagonal(matrix)
    largest = jnp.max(noise, axis=1)
    # Even shares of the wrong labels are 1 / (c - 1).
    mostly = MOSTLY + (1.0 - MOSTLY) / (len(matrix) - 1)
    one_kind = (largest > OFTEN) & (largest > mostly * jnp.sum(noise, axis=1))
    return jnp.where(one_kind[:, None], 0.0, noise)


def _off_diagonal(matrix: jax.Array) -> jax.Array:
    return matrix * (1.0 - jnp.eye(len(matrix), dtype=matrix.dtype))


def _rate(noise: jax.Array) -> jax.Array:
    """Mean over the classes of the noise [c, c] that they have, positive."""
    return jnp.maximum(jnp.mean(jnp.sum(noise, axis=1)), jnp.finfo(noise.dtype).tiny)
