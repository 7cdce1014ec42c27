"""Standardises features, and applies linear classifiers together with their scaling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.purifier.base.ridge import matmul


class LinearClassifier(NamedTuple):
    """Linear softmax classifier on standardised features; see `predict`.

    Attributes:
        kernel: [d, c].
        bias: [c].
        mean: feature mean [d], subtracted from the rows.
        scale: scalar, length to which the rows are then normalised; 0 keeps their own length.
    """

    kernel: jax.Array
    bias: jax.Array
    mean: jax.Array
    scale: jax.Array


def normalize_rows(features: jax.Array, mean: jax.Array, scale: jax.Array | float) -> jax.Array:
    """Subtracts `mean` from features [n, d] and scales rows to length `scale`; a row at the mean stays 0.

    Scale 0 leaves every row at its own length.
    """
    centred = features - mean
    # Scaled near 1 by a power of two, which is exact, so that squares neither overflow nor vanish.
    exponent = jnp.frexp(jnp.max(jnp.abs(centred), axis=-1, keepdims=True))[1]
    near = centred * jnp.ldexp(jnp.ones_like(centred[..., :1]), -jnp.clip(exponent, -120, 120))
    length = jnp.linalg.norm(near, axis=-1, keepdims=True)
    unit = jnp.where(length > 0, length, 1.0)
    return jnp.where(jnp.asarray(scale) > 0, near * (scale / unit), centred)


def center_and_normalize(features: jax.Array, mean: jax.Array) -> jax.Array:
    """Centred rows of length sqrt(d) with a constant column appended, [n, d + 1].

    Row normalisation makes ridge penalties and step sizes independent of the backbone's scale, and puts
    dot products in the cosine geometry in which contrastive features are trained.
    """
    rows = normalize_rows(features, mean, features.shape[-1] ** 0.5)
    return jnp.concatenate([rows, jnp.ones_like(rows[:, :1])], axis=1)


def linear_classifier(weights: jax.Array, mean: jax.Array) -> LinearClassifier:
    """Head for raw features [n, d] from weights [d + 1, c] on standardised ones and the feature mean [d]."""
    scale = jnp.asarray(mean.shape[-1] ** 0.5, mean.dtype)
    return LinearClassifier(weights[:-1], weights[-1], mean, scale)


def predict(classifier: LinearClassifier, features: jax.Array) -> jax.Array:
    """Class probabilities [n, c] of raw features [n, d]."""
    features = jnp.asarray(features, jnp.float32)
    rows = normalize_rows(features, classifier.mean, classifier.scale)
    return jax.nn.softmax(matmul(rows, classifier.kernel) + classifier.bias)
