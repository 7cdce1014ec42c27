"""Computes the numbers from which `PurifyResult.warnings` are made, inside the traced program.

They come from sums that the program has anyway: the Gram matrix and the moment of the training rows, and the
held-out predictions of a probe for the clean rows. `warnings.py` says from which value on a number is told.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.purifier import warnings
from dmlp_jax.purifier.base import masked, ridge, scores
from dmlp_jax.purifier.base.ridge import matmul
from dmlp_jax.purifier.base.scores import HeldOutScore
from dmlp_jax.purifier.probes import Probe
from dmlp_jax.purifier.rows.clean_set import CleanSet
from dmlp_jax.purifier.rows.reviews import Reviews

# Penalty of the projection on the class means, over their mean squared length.
PROJECTION_PENALTY = 1e-3
# Standard errors beyond which an offset of the clean rows, or a share of hits, is none of chance.
STANDARD_ERRORS = 5.0
# Gains in log-likelihood that features of noise hardly exceed: of the noisy probe with one of six settings,
# of probes with up to 36. Gaussian clusters one deviation apart, at 50 % noise, gain 4.6 with 8 rows.
CHANCE, CHANCE_OF_MANY = 1.5, 6.0
# Of few rows even a perfect prediction gains little; this share of that is enough.
CHANCE_SHARE = 0.3
# A margin below minus this times the median one is doubtful.
DOUBTFUL = 0.75


def of_clean_rows(
    gram: jax.Array,
    moment: jax.Array,
    total: jax.Array,
    clean: CleanSet,
    probes: tuple[Probe, ...],
    reviews: Reviews | None = None,
) -> dict[str, jax.Array]:
    """What the clean rows tell about themselves; see `PurifyResult.diagnostics`.

    Args:
        gram: F^T F of the training rows, [d, d].
        moment: F^T Y of the given labels, [d, c].
        total: sum of the row weights.
        clean: the clean rows.
        probes: the trivial baselines, in the order of `PROBES`.
        reviews: what the noisy source gave to the clean rows, or None.
    """
    moved = offset(gram, moment, total, clean)
    elsewhere = (moved["offset_share"] > warnings.OFFSET_SHARE) & (
        moved["offset_ratio"] > moved["offset_limit"]
    )
    return {
        "informative": informative(probes, clean, elsewhere),
        "elsewhere": elsewhere,
        "clean_class_rows": jnp.sum(clean.targets, axis=0).astype(jnp.int32),
        **doubtful(probes[-1].held_out, clean.labels, clean.real, reviews),
        **moved,
    }


def of_reviews(reviews: Reviews | None, random: jax.Array, given_matters: bool) -> dict[str, jax.Array]:
    """How many clean rows can be counted, and of how many the given label is known, int32.

    Args:
        reviews: what the noisy source gave to the clean rows, or None.
        random: 1 where a clean row was drawn at random, else 0, [m].
        given_matters: whether the schedule makes use of given labels of clean rows.

    Returns:
        'random_rows' and 'given_random_rows', clean rows that were drawn at random, and those of them whose
        given label is known; 'given_known', clean rows whose given label is known, where that matters.
    """
    known = jnp.zeros_like(random) if reviews is None else reviews.known
    found = {"random_rows": random, "given_random_rows": random * known}
    if given_matters:
        found["given_known"] = known
    return {name: jnp.sum(rows).astype(jnp.int32) for name, rows in found.items()}


def of_noise(given_right: jax.Array, given: HeldOutScore) -> dict[str, jax.Array]:
    """The share of wrong given labels by the model, and as reviewed rows show it.

    Args:
        given_right: mean label quality of the training rows, scalar.
        given: the score of the given labels of clean rows.

    Returns:
        'noise_estimated' of the training rows; 'noise_counted' on clean rows that were drawn at random, and
        'noise_counted_error', its standard error, negative where no row was.
    """
    return {
        "noise_estimated": 1.0 - given_right,
        "noise_counted": 1.0 - given.accuracy,
        "noise_counted_error": given.standard_error,
    }


def informative(probes: tuple[Probe, ...], clean: CleanSet, elsewhere: jax.Array) -> jax.Array:
    """Whether features tell classes of held-out clean rows better than the classes' shares do, scalar bool.

    The measure is the log-likelihood of the clean rows that a probe gains over their class shares, in nats
    over all rows. Features of noise gain a little too, since settings and temperature are chosen on these
    rows. The noisy probe has the least to choose and learns from training rows only: what it gains connects
    them with the clean rows. Where the given labels say nothing, the other probes can still speak, but not
    for training rows that come from somewhere else; these demand more of the noisy probe, too.

    Args:
        probes: the trivial baselines, in the order of `PROBES`.
        clean: the clean rows.
        elsewhere: whether the clean rows do not look like the training rows.
    """
    count = clean.number
    shares = jnp.sum(clean.targets, axis=0) / count
    entropy = -jnp.sum(shares * jnp.log(jnp.maximum(shares, jnp.finfo(shares.dtype).tiny)))
    gains = count * (entropy - jnp.stack([probe.score.cross_entropy for probe in probes]))
    demanded = jnp.where(elsewhere, 2.0 * CHANCE, CHANCE)
    connected = gains[1] > jnp.minimum(demanded, CHANCE_SHARE * count * entropy)
    return connected | ((jnp.maximum(gains[0], gains[2]) > CHANCE_OF_MANY) & ~elsewhere)


def beyond_majority(logits: jax.Array, clean: CleanSet) -> jax.Array:
    """Whether held-out predictions [m, c] hit far more often than the largest class would, scalar bool.

    Where the given labels say next to nothing, the probes gain little, but the rounds may still learn.

    Args:
        logits: of clean rows, from classifiers that did not train on them.
        clean: the clean rows.
    """
    hits = scores.accuracy(logits, clean.targets)
    largest = jnp.max(jnp.sum(clean.targets, axis=0)) / clean.number
    return hits - largest > STANDARD_ERRORS * jnp.sqrt(largest * (1.0 - largest) / clean.number)


def length(features: jax.Array, real: jax.Array) -> jax.Array:
    """Root mean square length of features [m, d] less their own mean, a scalar; `real` as in `masked.py`."""
    centred = real[:, None] * (features - masked.mean(features.T, real))
    return jnp.sqrt(jnp.sum(centred**2) / jnp.maximum(jnp.sum(real) - 1.0, 1.0))


def offset(gram: jax.Array, moment: jax.Array, total: jax.Array, clean: CleanSet) -> dict[str, jax.Array]:
    """How far the mean of the clean rows lies from that of the training rows, in standardised features.

    Other class shares move the mean within the span of the differences between class means. The clean set may
    have shares of its own, so only the part across that span counts. The span comes from the given labels,
    whose noise mixes the class means but does not leave their span, and from the clean rows themselves.

    Returns:
        'offset_share', squared length of that part less its sampling error, over that of a row, about 0 to 1;
        'offset_ratio', the same length over its sampling error, about 1 where both are samples of one source;
        'offset_limit', from which on chance does not explain that ratio.
    """
    tiny = jnp.finfo(gram.dtype).tiny
    mean = gram[-1] / jnp.maximum(total, tiny)
    covariance = gram / jnp.maximum(total, tiny) - mean[:, None] * mean
    shares = moment[-1] / jnp.maximum(total, tiny)
    of_given = moment / jnp.maximum(moment[-1], tiny) - mean[:, None]
    count = clean.number
    clean_mean = masked.mean(clean.features.T, clean.real)
    rows = jnp.sum(clean.targets, axis=0)
    of_clean = matmul(clean.features.T, clean.targets) / jnp.maximum(rows, 1.0) - clean_mean[:, None]
    basis = jnp.concatenate([of_given * jnp.sqrt(shares), of_clean * jnp.sqrt(rows / count)], axis=1)
    inner = matmul(basis.T, basis)
    penalty = PROJECTION_PENALTY * ridge.mean_eigenvalue(inner) + tiny

    moved = (clean_mean - mean)[:, None]
    sides = jnp.concatenate([moved, matmul(covariance, basis)], axis=1)
    solved = ridge.solve(inner, penalty, matmul(basis.T, sides))
    across = moved - matmul(basis, solved[:, :1])
    squared = jnp.sum(across**2)
    sampling = jnp.maximum(jnp.trace(covariance) - jnp.trace(solved[:, 1:]), 0.0) / count
    whole = masked.mean(jnp.sum(clean.features[:, :-1] ** 2, axis=1), clean.real)
    dims = jnp.trace(covariance) ** 2 / jnp.maximum(jnp.sum(covariance**2), tiny)
    # The ratio is near a chi-squared number over its degrees of freedom: Wilson and Hilferty's quantile.
    spread = 2.0 / (9.0 * jnp.maximum(dims, 1.0))
    return {
        "offset_share": jnp.maximum(squared - sampling, 0.0) / jnp.maximum(whole, tiny),
        "offset_ratio": squared / jnp.maximum(sampling, tiny),
        "offset_limit": (1.0 - spread + STANDARD_ERRORS * jnp.sqrt(spread)) ** 3,
    }


def doubtful(
    logits: jax.Array, labels: jax.Array, real: jax.Array, reviews: Reviews | None = None
) -> dict[str, jax.Array]:
    """Clean rows whose held-out prediction is as sure of another class as others are of the right one.

    The margin of a row is the logit of its class less the largest other one. A wrong label mirrors it. Where
    classes overlap, some rows of right labels have such a margin too; the upper half of the margins, which no
    wrong label reaches, says how many. Where the classifier is sure of the very label that the source had
    given, it repeats a mistake that it learned from that source: no doubt of the review.

    Args:
        logits: held-out [m, c].
        labels: class indices [m].
        real: 1 for a row, 0 for padding, [m].
        reviews: what the noisy source gave to the clean rows, or None.

    Returns:
        'doubtful_clean_rows', bool [m], and 'doubtful_by_chance', how many a normal distribution would have.
    """
    own = jnp.arange(logits.shape[1]) == labels[:, None]
    others = jnp.max(jnp.where(own, -jnp.inf, logits), axis=1)
    margins = jnp.sum(jnp.where(own, logits, 0.0), axis=1) - others
    middle, upper = masked.quantiles(margins, real, (0.5, 0.84))
    # A margin of nothing doubts nothing, and expects every row to.
    spread = jnp.maximum(upper - middle, jnp.finfo(margins.dtype).tiny)
    away = jnp.where(middle > 0, (1.0 + DOUBTFUL) * middle / spread, 0.0)
    found = (margins < -DOUBTFUL * middle) & (middle > 0) & (real > 0)
    if reviews is not None:
        repeated = jnp.take_along_axis(reviews.given, jnp.argmax(logits, axis=1)[:, None], axis=1)[:, 0]
        found &= repeated == 0
    return {
        "doubtful_clean_rows": found,
        "doubtful_by_chance": jnp.sum(real) * jax.scipy.stats.norm.cdf(-jnp.minimum(away, 30.0)),
    }


def none_doubtful() -> dict[str, jax.Array]:
    """What `doubtful` returns where there is no clean row."""
    return {"doubtful_clean_rows": jnp.zeros(1, bool), "doubtful_by_chance": jnp.float32(0)}
