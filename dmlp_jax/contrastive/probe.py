"""Evaluates frozen features with a linear probe and a k-nearest-neighbour probe.

Both probes train on true labels. They are for reporting only; no setting or model is chosen by them.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dmlp_jax.training.neighbours import nearest, unit_length

HIGHEST = jax.lax.Precision.HIGHEST


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    num_classes: int,
    iterations: int = 100,
    l2: float = 1e-4,
) -> float:
    """Test accuracy, in [0, 1], of multinomial logistic regression on standardised features.

    Args:
        features: [n, d].
        labels: true labels [n].
        test_features: [t, d].
        test_labels: [t].
        num_classes: c.
        iterations: number of L-BFGS iterations.
        l2: L2 penalty: the loss is the mean cross-entropy + l2 / 2 * |kernel|^2.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    params = _fit_logistic((features - mean) / scale, labels, num_classes, iterations, l2)
    kernel, bias = (np.asarray(part) for part in params)
    predicted = np.argmax((test_features - mean) / scale @ kernel + bias, axis=1)
    return float(np.mean(predicted == test_labels))


@partial(jax.jit, static_argnames=("num_classes", "iterations"))
def _fit_logistic(
    features: jax.Array, labels: jax.Array, num_classes: int, iterations: int, l2: float
) -> tuple[jax.Array, jax.Array]:
    def loss_fn(params):
        kernel, bias = params
        logits = jnp.matmul(features, kernel, precision=HIGHEST) + bias
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(losses) + 0.5 * l2 * jnp.sum(kernel**2)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss_fn)

    def body(_, carry):
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss_fn)
        return optax.apply_updates(params, updates), state

    params = (jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
    return jax.lax.fori_loop(0, iterations, body, (params, solver.init(params)))[0]


def knn_probe(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    num_classes: int,
    neighbors: int,
    chunk: int = 1000,
) -> float:
    """Test accuracy, in [0, 1], of a k-nearest-neighbour majority vote by cosine similarity.

    Ties go to the class with the nearer neighbours.

    Args:
        features: [n, d].
        labels: true labels [n].
        test_features: [t, d].
        test_labels: [t].
        num_classes: c.
        neighbors: k.
        chunk: test rows per step.
    """
    bank, targets = jnp.asarray(unit_length(features)), jnp.asarray(labels)
    neighbors = min(neighbors, len(labels))
    hits = 0
    for start in range(0, len(test_features), chunk):
        rows = unit_length(test_features[start : start + chunk])
        padded = np.concatenate([rows, np.zeros((chunk - len(rows), rows.shape[1]), rows.dtype)])
        predicted = np.asarray(_vote(padded, bank, targets, num_classes, neighbors))[: len(rows)]
        hits += int(np.sum(predicted == test_labels[start : start + chunk]))
    return hits / len(test_labels)


@partial(jax.jit, static_argnames=("num_classes", "neighbors"))
def _vote(rows: jax.Array, bank: jax.Array, labels: jax.Array, num_classes: int, neighbors: int) -> jax.Array:
    _, found = nearest(rows, bank, neighbors)
    votes = jax.nn.one_hot(labels[found], num_classes)
    # Breaks ties: nearer neighbours get a larger bonus, and all bonuses together are less than one vote.
    closeness = jnp.arange(neighbors, 0, -1) / (neighbors * (neighbors + 1.0))
    return jnp.argmax(jnp.sum(votes * (1.0 + closeness[:, None]), axis=1), axis=1)
