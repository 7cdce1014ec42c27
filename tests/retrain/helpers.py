"""Shared by the tests of retraining methods: settings, batches, softmax regression in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.retrain import (
    method,
    recipes,
)
from dmlp_jax.retrain.method import Method, Task, TrainingSet
from dmlp_jax.retrain.methods import registry  # noqa: F401  (methods registers them)
from dmlp_jax.training.dispatch import Batch

LR = 0.5


def settings(name, **changes):
    """The small recipe of a method, on softmax regression under plain gradient descent."""
    plain = {
        "method": name, "model": "linear", "augment": "none", "epochs": 10, "optimizer": "momentum",
        "momentum": 0.0, "weight_decay": 0.0, "schedule": "steps", "lr_drops": (), "lr": LR,
    }  # fmt: skip
    return ConfigDict({**recipes.small()[name], **plain, **changes})


def training_set(classes=3, rows=12, features=5, noise_rate=0.5, seed=0):
    """Random rows, wide enough that some probabilities leave [1e-4, 1 - 1e-4], with random labels."""
    rng = np.random.default_rng(seed)
    inputs = (4.0 * rng.normal(size=(rows, features))).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=rows)]
    return TrainingSet(inputs, targets, noise_rate)


def make(config, train, key=0):
    """A method with its step compiled, and its first state on a training set."""
    made = method.make(config.method, config, Task(train.targets.shape[1], 2, None))
    step = jax.jit(made.train_step, static_argnames="axis_name")
    return made._replace(train_step=step), jax.jit(lambda key: made.init(key, train))(jax.random.key(key))


def batch(train, rows, epoch=0.0, key=0):
    """The batch of these rows of a training set."""
    rows = np.asarray(rows)
    keys = jax.random.split(jax.random.key(key), len(rows) + 1)
    data = {"inputs": jnp.asarray(train.inputs[rows]), "targets": jnp.asarray(train.targets[rows])}
    return Batch(data, keys[1:], keys[0], jnp.asarray(rows), jnp.float32(epoch), ())


def batch_of_part(train, part, rows, epoch=5.0, **info):
    """The batch of these rows under the name of a kind of epoch, with the plan's `info` of the step."""
    plain = batch(train, rows, epoch, key=1)
    info = {name: jnp.float32(value) for name, value in info.items()}
    return plain._replace(data={part: plain.data}, rows={part: plain.rows}, info=info)


def step(made: Method, state, *arguments, **named):
    """State and metrics after one step on `batch(*arguments, **named)`."""
    return made.train_step(state, batch(*arguments, **named), axis_name=None)


def head(params):
    """Kernel [d, c] and bias [c], float64."""
    return np.float64(params["head"]["kernel"]), np.float64(params["head"]["bias"])


def logits(weights, inputs):
    """Of float64 weights, [b, c]."""
    return np.float64(inputs) @ weights[0] + weights[1]


def log_softmax(values):
    """Over the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(values):
    """Over the last axis."""
    return np.exp(log_softmax(values))


def cross_entropy(values, targets):
    """Of logits [b, c], [b]."""
    return -(targets * log_softmax(values)).sum(axis=-1)


def through_softmax(probs, slopes):
    """The gradient with respect to logits of a function of probabilities [b, c] with gradient `slopes`."""
    return probs * (slopes - (slopes * probs).sum(axis=-1, keepdims=True))


def gradient(inputs, slopes):
    """Of kernel and bias, from the gradient with respect to logits [b, c]."""
    return np.float64(inputs).T @ slopes, slopes.sum(axis=0)


def descended(weights, grads, rate=LR):
    """Weights after a step of gradient descent."""
    return tuple(value - rate * slope for value, slope in zip(weights, grads, strict=True))


def by_differences(loss, weights, step=1e-5):
    """The gradient of a function of float64 arrays, by central differences."""
    found = [np.zeros_like(value) for value in weights]
    for value, slope in zip(weights, found, strict=True):
        for place in np.ndindex(value.shape):
            ends = []
            for move in (step, -step):
                value[place] += move
                ends.append(loss(weights))
                value[place] -= move
            slope[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def assert_head(params, weights, atol=2e-5):
    """The parameters are these weights."""
    for ours, expected in zip(head(params), weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=atol)


def assert_same(first, second):
    """Two pytrees of arrays are bitwise equal."""
    jax.tree.map(np.testing.assert_array_equal, first, second)


def drops(recipe):
    """Epochs at which the rate drops."""
    return [round(share * recipe["epochs"], 6) for share in recipe["lr_drops"]]
