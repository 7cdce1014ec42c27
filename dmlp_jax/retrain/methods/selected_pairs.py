"""Computes Sel-CL's losses on selected pairs: contrast of mixed rows, similarity of predictions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.retrain.methods.interpolated_contrast import mixed_positives
from dmlp_jax.training.contrast import similarity, supervised


class Known(NamedTuple):
    """What is known of rows, by which pairs are selected.

    Attributes:
        features: unit projections of before the epoch [m, d].
        labels: given classes [m], -1 for a place of the memory that was never written.
        selected: 1 for a row that is selected, else 0, [m].
    """

    features: jax.Array
    labels: jax.Array
    selected: jax.Array


class Losses(NamedTuple):
    """Losses of the anchors with one set of keys.

    Attributes:
        contrast: contrastive loss of each anchor [2 b], 0 for a row without selected partners.
        similarity: mean binary cross-entropy of the similarity of predictions, scalar.
        partners: number of keys that each row is paired with, views of itself excluded [b].
    """

    contrast: jax.Array
    similarity: jax.Array
    partners: jax.Array


def known_of(
    features: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    selected: jax.Array | np.ndarray,
    rows: jax.Array,
) -> Known:
    """What is known of `rows` [m] by tables of all rows; a number of -1 is a place that was never written."""
    found = Known(*(jnp.asarray(table)[rows] for table in (features, labels, selected)))
    return found._replace(labels=jnp.where(rows >= 0, found.labels, -1))


def pairs(rows: Known, keys: Known, bound: jax.Array) -> jax.Array:
    """Which pairs of the same given label are selected, bool [b, m].

    A pair is selected if both rows are, or if their projections are as similar as `bound`.
    """
    same = rows.labels[:, None] == keys.labels
    both = (rows.selected[:, None] * keys.selected) > 0
    return same & (both | (similarity(rows.features, keys.features) >= bound))


def pair_losses(
    anchors: jax.Array,
    probs: jax.Array,
    keys: jax.Array,
    key_probs: jax.Array,
    chosen: jax.Array,
    own: jax.Array,
    partner: jax.Array,
    share: jax.Array,
    places: jax.Array,
    numbers: jax.Array,
    known: jax.Array,
    temperature: float,
) -> Losses:
    """Losses of mixed rows whose positives are selected pairs; the other view always is one.

    As in the authors' code a partner's views weigh twice in the contrast. In the similarity they count as
    positives once, where the code's binary targets become 2.

    Args:
        anchors: unit projections of both views [2 b, d], the first views first.
        probs: predictions of these [2 b, c].
        keys: unit projections [m, d].
        key_probs: predictions of these [m, c].
        chosen: pairs of the batch's rows, of all devices, with the keys, bool [rows, m].
        own: numbers of the anchors' rows [2 b].
        partner: numbers of the rows they are mixed with [2 b].
        share: weights of the anchors' own rows in their mixtures [2 b].
        places: where the anchors lie among the keys [2 b].
        numbers: numbers of the keys' rows in the batch, -1 for others [m].
        known: which keys there are, bool [m].
        temperature: T.
    """
    others = (jnp.arange(len(keys)) != places[:, None]) & known
    same_row, with_partner = numbers == own[:, None], numbers == partner[:, None]
    major, minor = chosen[own] | same_row, chosen[partner]
    positives = mixed_positives(others * major, others * (minor + 1.0 * with_partner), share)
    half = len(anchors) // 2
    paired = jnp.sum(chosen[own] & others & ~same_row, axis=1)[:half]
    contrast = supervised(anchors, keys, positives, others, temperature)
    contrast *= jnp.tile(paired > 0, 2)
    alike = jnp.clip(similarity(probs, key_probs), 0.0, 1.0)
    targets = share[:, None] * major + (1.0 - share)[:, None] * (minor | with_partner)
    entropy = -targets * jnp.log(alike + 1e-7) - (1.0 - targets) * jnp.log(1.0 - alike + 1e-7)
    entries = len(anchors) * jnp.maximum(jnp.sum(known), 1)
    return Losses(contrast, jnp.sum(others * entropy) / entries, paired)


def bound_of(
    features: np.ndarray, labels: np.ndarray, selected: np.ndarray, quantile: float, rng: np.random.Generator
) -> np.float32:
    """A quantile of the similarities of selected rows of the same class.

    Of a class with more than 500 selected rows, all are compared with 500 of them.

    Args:
        features: unit projections [n, d].
        labels: given classes [n].
        selected: which rows are selected, bool [n].
        quantile: in [0, 1].
        rng: chooses those 500.
    """
    found = []
    for label in np.unique(labels[selected]):
        rows = features[selected & (labels == label)]
        found.append((rows @ rows[rng.permutation(len(rows))[:500]].T).ravel())
    return np.float32(np.quantile(np.concatenate(found), quantile))
