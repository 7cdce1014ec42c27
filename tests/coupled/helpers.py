"""Shared by the tests of coupled methods: batches of two parts, references in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.coupled import registry  # noqa: F401  (registers them)
from dmlp_jax.retrain.method import TrainingSet
from dmlp_jax.training.dispatch import Batch
from tests.retrain.helpers import cross_entropy, gradient, logits, softmax

NOISY, CLEAN, FEATURES = 12, 6, 5


def training_set(classes=3, seed=0):
    """Random rows with random labels, the last ones clean."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(NOISY + CLEAN, FEATURES)).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=NOISY + CLEAN)]
    return TrainingSet(inputs, targets, 0.5, CLEAN)


def batch(train, rows, clean, epoch=0.0, key=0):
    """A batch of these noisy and clean rows, the latter counted from the first clean one."""
    index = {"train": np.asarray(rows), "meta": NOISY + np.asarray(clean)}
    keys = jax.random.split(jax.random.key(key), len(rows) + 1)
    data = {
        name: {"inputs": jnp.asarray(train.inputs[part]), "targets": jnp.asarray(train.targets[part])}
        for name, part in index.items()
    }
    return Batch(data, keys[1:], keys[0], jax.tree.map(jnp.asarray, index), jnp.float32(epoch), ())


def parts(train, rows, clean):
    """Inputs and targets of noisy and of clean rows, float64."""
    clean = NOISY + np.asarray(clean)
    return tuple(np.float64(array[part]) for part in (rows, clean) for array in (train.inputs, train.targets))


def loss(weights, inputs, targets):
    """Mean cross-entropy of softmax regression to targets that need not sum to one."""
    return cross_entropy(logits(weights, inputs), targets).mean()


def loss_gradient(weights, inputs, targets):
    """Of `loss`, with respect to kernel and bias."""
    probs = softmax(logits(weights, inputs))
    return gradient(inputs, (targets.sum(axis=1, keepdims=True) * probs - targets) / len(targets))


def differences(function, tree, step=1e-5):
    """The gradient of a function of a pytree of float64 arrays, by central differences."""
    leaves, structure = jax.tree.flatten(tree)
    found = []
    for number, leaf in enumerate(leaves):
        slopes = np.zeros_like(leaf)
        for place in np.ndindex(leaf.shape):
            values = []
            for sign in (1, -1):
                moved = [np.array(other) for other in leaves]
                moved[number][place] += sign * step
                values.append(function(jax.tree.unflatten(structure, moved)))
            slopes[place] = (values[0] - values[1]) / (2 * step)
        found.append(slopes)
    return jax.tree.unflatten(structure, found)


def weight(params, losses):
    """The weight network: one hidden layer of ReLU, then a sigmoid; [b]."""
    first, second = params["Dense_0"], params["Dense_1"]
    hidden = np.maximum(losses[:, None] * first["kernel"] + first["bias"], 0.0)
    return 1.0 / (1.0 + np.exp(-(hidden @ second["kernel"] + second["bias"])[:, 0]))


class Adam:
    """Adam with decay in the gradient, as in PyTorch's documentation."""

    def __init__(self, params, lr, decay):
        self.lr, self.decay, self.steps = lr, decay, 0
        self.mu = self.nu = jax.tree.map(np.zeros_like, params)

    def step(self, params, grads):
        self.steps += 1
        grads = jax.tree.map(lambda g, p: g + self.decay * p, grads, params)
        self.mu = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, self.mu, grads)
        self.nu = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, self.nu, grads)
        first, second = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        return jax.tree.map(
            lambda p, m, v: p - self.lr * (m / first) / (np.sqrt(v / second) + 1e-8), params, self.mu, self.nu
        )


def float64(tree):
    """The same arrays in float64."""
    return jax.tree.map(np.float64, tree)


def momentum_of(opt_state):
    """The running mean of gradients in the state of an optimiser."""
    (found,) = [part.mu for part in jax.tree.leaves(opt_state, is_leaf=has_mean) if has_mean(part)]
    return found


def has_mean(part):
    return hasattr(part, "mu")


def assert_close(found, expected, rtol=2e-3, scale=1e-4):
    """Every leaf, with a tolerance that follows its largest entry."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=scale * np.abs(theirs).max() + 1e-9)
