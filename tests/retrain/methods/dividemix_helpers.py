"""What the tests of DivideMix share: float64 references, small settings, hand-made batches."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.retrain.method import TrainingSet
from dmlp_jax.training.dispatch import Batch


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sharpened(probs, temperature):
    powers = probs ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def simplex(seed, *shape):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), size=shape[:-1])


def reference_loss(logits, targets, labelled, weight):
    """The loss on mixed rows, in float64."""
    probs = softmax(logits)
    fit = -np.sum(targets[:labelled] * np.log(probs[:labelled])) / labelled
    errors = (probs[labelled:] - targets[labelled:]) ** 2
    prior = 1 / logits.shape[1]
    unlabelled = weight * errors.mean() if len(errors) else 0.0
    return fit + unlabelled + np.sum(prior * np.log(prior / probs.mean(axis=0)))


def reference_slope(logits, targets, labelled, weight):
    """The derivative of `reference_loss` by the logits, worked out by hand."""
    probs = softmax(logits)
    classes = logits.shape[1]
    by_probs = np.zeros_like(probs)
    by_probs[labelled:] = weight * 2 * (probs - targets)[labelled:] / max(probs[labelled:].size, 1)
    by_probs -= 1 / (classes * len(logits) * probs.mean(axis=0))
    slope = probs * (by_probs - np.sum(probs * by_probs, axis=1, keepdims=True))
    slope[:labelled] += (probs - targets)[:labelled] / labelled
    return slope


def dividemix_settings(**changes):
    """The demo's recipe with softmax regression and plain gradient descent at a constant rate."""
    config = default_config()
    config.retrain.method = "dividemix"
    plain = {
        "model": "linear", "augment": "none", "optimizer": "momentum", "momentum": 0.0, "weight_decay": 0.0,
        "lr": 0.1, "schedule": "steps", "lr_drops": (), "epochs": 40,
        "bound_by_noise": False, "divide_by": "losses",
    }  # fmt: skip
    return ConfigDict({**apply_recipe(config).retrain, **plain, **changes})


def random_rows(seed, rows, width=4, classes=3, noise_rate=0.3):
    """Random features with random one-hot labels."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, width)).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=rows)]
    return TrainingSet(inputs, targets, noise_rate)


def first_state(chosen, train, seed=0):
    """The method's state before the first step."""
    return jax.jit(lambda key: chosen.init(key, train))(jax.random.key(seed))


def heads(state):
    """Kernel [2, d, c] and bias [2, c] of the pair's linear layers, float64."""
    head = state.networks.params["head"]
    return np.float64(head["kernel"]), np.float64(head["bias"])


def with_heads(state, kernel, bias):
    """The state with these linear layers."""
    fresh = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    return state._replace(networks=state.networks._replace(params={"head": fresh}))


def batch_of(train, rows, key, info, epoch=0.0):
    """The batch that the loop would make of these rows, {part: [b]}."""
    data = {
        part: {"inputs": jnp.asarray(train.inputs[index]), "targets": jnp.asarray(train.targets[index])}
        for part, index in rows.items()
    }
    size = len(next(iter(rows.values())))
    keys = jax.random.split(jax.random.fold_in(key, 1), size)
    return Batch(data, keys, key, jax.tree.map(jnp.asarray, rows), jnp.float32(epoch), info)


def equal_trees(ours, theirs):
    """Whether all leaves are the same bit for bit."""
    same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), ours, theirs)
    return all(jax.tree.leaves(same))
