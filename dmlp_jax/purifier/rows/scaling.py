"""Standardises features, and applies linear classifiers together with their scaling."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base import forked
from dmlp_jax.purifier.base.ridge import matmul


class LinearClassifier(NamedTuple):
    """Linear softmax classifier on standardised features; see `predict`.

    Attributes:
        kernel: [d, c].
        bias: [c].
        mean: feature mean [d], subtracted from the rows.
        scale: scalar, length to which the rows are then normalised; 0 keeps their own length.
        bound: scalar, distance from the mean beyond which a value counts as missing, see `outliers.py`;
            infinite where the training rows had none, and for classifiers of earlier versions.
    """

    kernel: jax.Array
    bias: jax.Array
    mean: jax.Array
    scale: jax.Array
    bound: jax.Array | float = math.inf


def normalize_rows(
    features: jax.Array, mean: jax.Array, scale: jax.Array | float, bound: jax.Array | float = math.inf
) -> jax.Array:
    """Subtracts `mean` from features [n, d] and scales rows to length `scale`; a row at the mean stays 0.

    Scale 0 leaves every row at its own length. A value further than `bound` from the mean is set to the mean:
    as a number it would take over its row.
    """
    centred = centre(features, mean, bound)
    # Scaled near 1 by a power of two, which is exact, so that squares neither overflow nor vanish.
    exponent = jnp.frexp(jnp.max(jnp.abs(centred), axis=-1, keepdims=True))[1]
    near = centred * jnp.ldexp(jnp.ones_like(centred[..., :1]), -jnp.clip(exponent, -120, 120))
    length = jnp.linalg.norm(near, axis=-1, keepdims=True)
    unit = jnp.where(length > 0, length, 1.0)
    return jnp.where(jnp.asarray(scale) > 0, near * (scale / unit), centred)


def centre(features: jax.Array, mean: jax.Array, bound: jax.Array | float) -> jax.Array:
    """Features [n, d] less the mean [d]; 0 for those further than `bound` from it."""
    # In this order XLA makes no intermediate result as large as the features.
    return jnp.where(jnp.abs(features - mean) > bound, mean, features) - mean


def center_and_normalize(
    features: jax.Array, mean: jax.Array, bound: jax.Array | float = math.inf
) -> jax.Array:
    """Centred rows of length sqrt(d) with a constant column appended, [n, d + 1].

    Row normalisation makes ridge penalties and step sizes independent of the backbone's scale, and puts
    dot products in the cosine geometry in which contrastive features are trained.
    """
    rows = normalize_rows(features, mean, features.shape[-1] ** 0.5, bound)
    return jnp.concatenate([rows, jnp.ones_like(rows[:, :1])], axis=1)


def linear_classifier(weights: jax.Array, mean: jax.Array) -> LinearClassifier:
    """Head for raw features [n, d] from weights [d + 1, c] on standardised ones and the feature mean [d]."""
    scale = jnp.asarray(mean.shape[-1] ** 0.5, mean.dtype)
    return LinearClassifier(weights[:-1], weights[-1], mean, scale)


def predict(classifier: LinearClassifier, features: jax.Array) -> jax.Array:
    """Class probabilities [n, c] of raw features [n, d]."""
    forked.refuse()
    features = jnp.asarray(features, jnp.float32)
    rows = normalize_rows(features, classifier.mean, classifier.scale, classifier.bound)
    return jax.nn.softmax(matmul(rows, classifier.kernel) + classifier.bias)
