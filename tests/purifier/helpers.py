"""What several tests of the purifier share."""

from dmlp_jax.purifier.base.ridge import matmul


def cross_entropy_gradient(features, probs, targets, weight):
    """Gradient of sum_i weight_i CE(targets_i, softmax(F_i W)) in W, [d, c], given the predictions."""
    return matmul(features.T, weight[:, None] * (probs - targets))
