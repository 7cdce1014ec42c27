"""Defines `suggest`, which says which rows to review next.

With a result these are the rows whose returned labels are the least certain: a review mends such a label with
the probability 1 - confidence, and it teaches most where given label and features leave the class open. (Rows
of suspicious given labels are the wrong choice: most of their labels are corrected already, and what a review
of these shows is known.) Labels of equal confidence, as given labels that are returned, are ranked by
`label_quality`.

Uncertain rows do not show how frequent mistakes are. So a share of the rows is drawn at random, before the
others and from all rows, and marked: counts are made of these only.

Without a result the rows make a first clean set, which needs every class. Rows are drawn at random within
strata, the given labels or clusters of the features. The r-th row of a stratum of n_s rows, in random order,
has the place (r + u_s) / n_s with one uniform u_s; the rows of lowest place are taken. So every row is drawn
with the same probability, and a stratum gets its share of the rows, give or take one. The first row of every
stratum is taken in any case; where its place is beyond those of the others it is not marked as random.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dmlp_jax.purifier import checks, label_checks
from dmlp_jax.purifier.base import kmeans
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.result import PurifyResult

# How a row came to be suggested; `Suggestion.reason` is an index of it.
REASONS = ("random", "uncertain", "class")
# Share of the rows that are drawn at random. Fewer mend a little more: benchmarks/results/suggest.md.
RANDOM_SHARE = 0.25
# Most rows that clusters are found on.
CLUSTERED_ROWS = 10_000
# Longest row there, in lengths of the median row.
LONGEST = 4.0


class Suggestion(NamedTuple):
    """Rows to review; arrays of k entries.

    Attributes:
        rows: positions among the rows of the result, or of `labels` or `features`; [k] int32, no row twice.
            Those drawn at random come first, then the others, the most useful first.
        random: whether a row was drawn at random, [k] bool: the `val_random` of these rows for `purify`.
        reason: how each row was chosen, an index of `REASONS`, [k] int32.
    """

    rows: jax.Array
    random: jax.Array
    reason: jax.Array

    @property
    def reasons(self) -> tuple[str, ...]:
        """`reason` in words: 'random', 'uncertain', or 'class' for a row that was taken for its class.

        Needs values: not under `jax.jit`.
        """
        return tuple(REASONS[int(reason)] for reason in np.asarray(self.reason))


def suggest(
    result: PurifyResult | None,
    k: int,
    *,
    labels: ArrayLike | None = None,
    features: ArrayLike | None = None,
    num_classes: int | None = None,
    random_share: float = RANDOM_SHARE,
    key: jax.Array | None = None,
) -> Suggestion:
    """Says which k rows to review next, or which to review first.

    With the result of `purify` these are rows whose returned labels are the least certain, and a share drawn
    at random. The reviewed rows become clean rows: give them to `purify` as `val`, their given labels as
    `val_given_labels` and `random` as `val_random`.

    Without a result, `suggest(None, k, labels=labels)`, they are a first clean set: drawn at random within
    the given labels, at least one of each where k allows. Without labels clusters of the features take their
    place. A given label may be wrong, so a rare class may still be absent; `purify` then says so.

    A pure function. With a result, or labels and `num_classes`, it can be called inside `jax.jit` with k and
    `random_share` static.

    Args:
        result: of `purify`, or None. Its rows are not reviewed yet, the clean rows are not among them.
        k: number of rows, from 1 to the number of rows that there are.
        labels: without a result: given class indices [n].
        features: without a result and labels: [n, d], in memory.
        num_classes: without a result: c; by default the largest label plus one. With features at least this
            many clusters are made, else k / 2.
        random_share: with a result: share of the k rows that are drawn at random, rounded up, in [0, 1].
            With less than about a quarter the noise rate is known badly.
        key: typed PRNG key; `jax.random.key(0)` by default. Take another one for every round.

    Returns:
        A `Suggestion`.

    Raises:
        InputError: (a ValueError) an argument is malformed.
    """
    key = checks.check_key(jax.random.key(0) if key is None else key)
    _check_share(random_share)
    if result is not None:
        if labels is not None or features is not None:
            raise InputError(
                "labels and features are for a first review, without a result: pass suggest(result, k), or "
                "suggest(None, k, labels=labels)"
            )
        k = _check_k(k, result.confidence.shape[0])
        return _next(result.confidence, result.label_quality, key, k=k, drawn=int(np.ceil(random_share * k)))
    if labels is not None:
        if features is not None:
            raise InputError("give labels or features, not both: rows are drawn within the given labels")
        rows = (*np.shape(labels), 0)[0]
        strata = label_checks.check_classes(
            "labels", labels, rows, num_classes, "; pass labels.argmax(axis=1)"
        )
        count = label_checks.check_num_classes(num_classes, strata)
        k = _check_k(k, strata.shape[0])
    elif features is not None:
        matrix = _scaled(checks.check_features("features", features))
        k = _check_k(k, matrix.shape[0])
        some = matrix[:: -(-len(matrix) // CLUSTERED_ROWS)]
        least = 2 if num_classes is None else label_checks.check_num_classes(num_classes)
        count = min(max(least, k // 2), len(some))
        key, own = jax.random.split(key)
        strata = kmeans.nearest(matrix, jax.jit(kmeans.fit, static_argnums=1)(some, count, own))
    else:
        raise InputError(
            "without a result suggest needs the rows: pass labels=, the given labels, or features= where no "
            "row has a label"
        )
    return _first(jnp.asarray(strata, jnp.int32), key, k=k, count=count)


def _scaled(features: Any) -> jax.Array:
    """Centred rows [n, d], none much longer than the median: each outlier would make a cluster."""
    rows = jnp.asarray(features[:], jnp.float32)
    rows = rows - jnp.median(rows, axis=0)
    length = jnp.linalg.norm(rows, axis=1, keepdims=True)
    most = jnp.maximum(LONGEST * jnp.median(length), jnp.finfo(rows.dtype).tiny)
    return rows * jnp.minimum(1, most / jnp.maximum(length, most))


@partial(jax.jit, static_argnames=("k", "drawn"))
def _next(confidence: jax.Array, quality: jax.Array, key: jax.Array, *, k: int, drawn: int) -> Suggestion:
    """The `drawn` rows at random first, then those of the least confidence.

    Args:
        confidence: probability that the returned label is right [n].
        quality: probability that the given label is right [n].
        key: for the draw.
        k: number of rows.
        drawn: how many of them are drawn at random.
    """
    random = jax.random.permutation(key, confidence.shape[0])[:drawn].astype(jnp.int32)
    # Above any confidence, so that none is taken twice.
    order = jnp.lexsort((quality, confidence.at[random].set(2.0)))
    others = order[: k - drawn].astype(jnp.int32)
    at_random = jnp.arange(k) < drawn
    reason = jnp.where(at_random, REASONS.index("random"), REASONS.index("uncertain")).astype(jnp.int32)
    return Suggestion(jnp.concatenate([random, others]), at_random, reason)


@partial(jax.jit, static_argnames=("k", "count"))
def _first(strata: jax.Array, key: jax.Array, *, k: int, count: int) -> Suggestion:
    """The rows of lowest place, and the first of every stratum; see the head of the file.

    Args:
        strata: [n], below `count`.
        key: for the draw.
        k: number of rows.
        count: number of strata.
    """
    rows = strata.shape[0]
    of_order, of_strata = jax.random.split(key)
    order = jax.random.permutation(of_order, rows)
    by_stratum = order[jnp.argsort(strata[order], stable=True)]
    sizes = jnp.zeros(count, jnp.int32).at[strata].add(1)
    begins = jnp.cumsum(sizes) - sizes
    own = strata[by_stratum]
    rank = jnp.arange(rows) - begins[own]
    place = (rank + jax.random.uniform(of_strata, (count,))[own]) / sizes[own]
    # Infinitely early, in the order of their places: with fewer rows than strata the draw stays fair.
    taken = jnp.lexsort((place, rank > 0))
    chosen, left = taken[:k], taken[k:]
    # Rows before the first one that was left out are what the draw alone would have taken.
    beyond = jnp.min(place[left], initial=jnp.inf)
    at_random = place[chosen] < beyond
    # Those drawn at random first.
    last = jnp.argsort(~at_random, stable=True)
    reason = jnp.where(at_random, REASONS.index("random"), REASONS.index("class")).astype(jnp.int32)
    return Suggestion(by_stratum[chosen][last].astype(jnp.int32), at_random[last], reason[last])


def _check_k(k: Any, rows: int) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise InputError(f"k must be a whole number that is known before tracing, got {k!r}")
    if not 1 <= k <= rows:
        raise InputError(f"k is {k}, but there are {rows} rows to choose from; pass 1 to {rows}")
    return int(k)


def _check_share(share: Any) -> None:
    if isinstance(share, bool) or not isinstance(share, (int, float, np.integer, np.floating)):
        raise InputError(f"random_share must be a number from 0 to 1, got {share!r}")
    if not 0 <= share <= 1:
        raise InputError(f"random_share is {share}; pass the share of rows drawn at random, from 0 to 1")
