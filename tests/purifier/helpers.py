"""What several tests of the purifier share."""

import numpy as np

from dmlp_jax.purifier.base.ridge import matmul


def cross_entropy_gradient(features, probs, targets, weight):
    """Gradient of sum_i weight_i CE(targets_i, softmax(F_i W)) in W, [d, c], given the predictions."""
    return matmul(features.T, weight[:, None] * (probs - targets))


def make_linear_classes(rows, width, classes):
    """Features [rows, width], and labels that their first columns give with noise, as indices and one-hot."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    labels = np.argmax(features[:, :classes] + rng.normal(size=(rows, classes)), axis=1)
    return features, labels, np.eye(classes, dtype=np.float32)[labels]


def numpy_softmax(logits):
    """Row-wise softmax in NumPy."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
