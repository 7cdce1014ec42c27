"""The heads beside the classifier's: their parameters, running statistics, and what an encoder replaces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.models.registry import Projector
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.network import Head, Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.state import make_optimizer
from tests.retrain import helpers

HEADS = {
    "projector": Head(Projector(2, 7, 5, bias=True)),
    "predictor": Head(Projector(2, 6, 5, bias=True), inputs="projector"),
    "second": Head(Projector(1, 0, 3, bias=True)),
}
INPUTS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def made(heads=None, encoder=None, model="mlp"):
    config = helpers.settings("naive", model=model)
    optimizer = make_optimizer(config, learning_rates.make(config))
    network = Network(config, Task(3, 2, encoder), optimizer, heads)
    return network, network.init(jax.random.key(0), INPUTS)


def projected(part, inputs, stats=None):
    """Linear, batch norm, ReLU, linear in float64, and the batch's mean and variance."""
    part = jax.tree.map(np.float64, part)
    hidden = np.float64(inputs) @ part["Dense_0"]["kernel"]
    mean, var = (hidden.mean(axis=0), hidden.var(axis=0)) if stats is None else (stats["mean"], stats["var"])
    norm = part["BatchNorm_0"]
    hidden = np.maximum((hidden - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"], 0)
    return hidden @ part["Dense_1"]["kernel"] + part["Dense_1"]["bias"], (mean, var)


def test_network_without_heads_is_part_of_one_with_them():
    _, plain = made()
    _, state = made(HEADS)
    assert set(state.params) == {"encoder", "head", *HEADS}
    for name in ("encoder", "head"):
        helpers.assert_same(state.params[name], plain.params[name])
    # The optimiser has momenta of them.
    assert len(jax.tree.leaves(state.opt_state)) == len(jax.tree.leaves(state.params))
    assert np.any(state.params["projector"]["Dense_0"]["kernel"][:3] != 0)


@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_outputs_and_running_statistics_of_heads(model):
    network, state = made(HEADS, model=model)
    key = jax.random.key(1)
    _, features, stats = network.train_outputs(state.params, state.batch_stats, INPUTS, key, None)
    helpers.assert_same(stats["projector"], state.batch_stats["projector"])
    inputs = features
    for name in ("projector", "predictor"):
        found, stats = network.head(state.params, stats, name, inputs, None)
        expected, (mean, var) = projected(state.params[name], inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        running = stats[name]["BatchNorm_0"]
        np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-4)
        evaluated, same = network.head(state.params, stats, name, inputs, None, train=False)
        expected, _ = projected(state.params[name], inputs, running)
        np.testing.assert_allclose(evaluated, expected, rtol=1e-4, atol=1e-5)
        helpers.assert_same(same, stats)
        inputs = found
    assert set(stats) == set(state.batch_stats)
    # A head without batch norm.
    found, same = network.head(state.params, stats, "second", features, None)
    layer = state.params["second"]["Dense_0"]
    np.testing.assert_allclose(found, features @ layer["kernel"] + layer["bias"], rtol=1e-5, atol=1e-6)
    helpers.assert_same(same, stats)


def test_pretrained_encoder_leaves_heads_alone():
    _, fresh = made(HEADS)
    pretrained = jax.tree.map(
        lambda leaf: leaf + 1.0,
        {"params": fresh.params["encoder"], "batch_stats": fresh.batch_stats.get("encoder", {})},
    )
    _, state = made(HEADS, encoder=pretrained)
    helpers.assert_same(state.params["encoder"], pretrained["params"])
    for name in ("head", *HEADS):
        helpers.assert_same(state.params[name], fresh.params[name])


def test_heads_are_trained_with_the_network():
    network, state = made(HEADS)

    def loss_fn(params):
        _, features, stats = network.train_outputs(params, state.batch_stats, INPUTS, jax.random.key(1), None)
        outputs, stats = network.head(params, stats, "projector", features, None)
        return jnp.mean(outputs**2), stats

    grads, stats = jax.grad(loss_fn, has_aux=True)(state.params)
    after = network.step(state, grads, stats, None, epoch=jnp.float32(0))
    moved = {
        name: any(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), after.params[name], part)))
        for name, part in state.params.items()
    }
    assert moved == {"encoder": True, "head": False, "projector": True, "predictor": False, "second": False}
