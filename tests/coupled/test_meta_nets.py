import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.coupled import meta_nets
from dmlp_jax.coupled.meta_nets import LabelNet, WeightNet
from tests.coupled import helpers
from tests.retrain.helpers import softmax


def corrected(params, features, targets):
    """MLC's label correction network, from its description; without the skip."""
    x = np.concatenate([features, targets @ params["embedding"]["kernel"]], axis=1)
    for layer in ("Dense_0", "Dense_1"):
        x = np.tanh(x @ params[layer]["kernel"] + params[layer]["bias"])
    return x @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]


@pytest.mark.parametrize("skip", [False, True])
def test_label_net_is_two_tanh_layers_on_features_and_embedded_label(skip):
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(7, 5)), np.eye(4)[rng.integers(4, size=7)]
    net = LabelNet(4, embedding=3, width=6, skip=skip)
    params = net.init(jax.random.key(0), jnp.float32(features), jnp.float32(targets))["params"]
    params = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), params)
    found = net.apply({"params": params}, jnp.float32(features), jnp.float32(targets))
    logits = corrected(helpers.float64(params), features, targets)
    expected = softmax(logits[:, :4])
    if skip:
        alpha = 1 / (1 + np.exp(-logits[:, 4:]))
        expected = (1 - alpha) * expected + alpha * targets
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.sum(found, axis=1), 1.0, rtol=1e-5)


def test_weight_net_is_one_hidden_layer_and_starts_with_kinks_among_the_losses():
    net = WeightNet(width=50)
    params = net.init(jax.random.key(1), jnp.zeros(1))["params"]
    losses = np.linspace(0, 6, 40)
    found = net.apply({"params": params}, jnp.float32(losses))
    np.testing.assert_allclose(found, helpers.weight(helpers.float64(params), losses), atol=1e-6)
    first = params["Dense_0"]
    for leaf, bound in (
        (first["kernel"], 1.0),
        (first["bias"], 1.0),
        (params["Dense_1"]["kernel"], 50**-0.5),
    ):
        assert 0.8 * bound < np.abs(leaf).max() <= bound
    kinks = -first["bias"] / first["kernel"][0]
    assert np.sum((kinks > 0) & (kinks < 6)) > 10


def test_amsgrad_is_pytorchs():
    """One large gradient, then small ones: the steps that follow recover."""
    rng = np.random.default_rng(2)
    grads = rng.normal(size=(30, 4)) * np.where(np.arange(30) == 3, 50.0, 1.0)[:, None]
    optimizer = meta_nets.amsgrad(0.01)
    state = meta_nets.init_meta({"w": jnp.zeros(4)}, optimizer)
    value, mu, nu, largest = (np.zeros(4) for _ in range(4))
    for step, grad in enumerate(grads, start=1):
        state = meta_nets.update_meta(state, {"w": jnp.float32(grad)}, optimizer)
        mu, nu = 0.9 * mu + 0.1 * grad, 0.999 * nu + 0.001 * grad**2
        largest = np.maximum(largest, nu)
        value -= 0.01 / (1 - 0.9**step) * mu / (np.sqrt(largest) / np.sqrt(1 - 0.999**step) + 1e-8)
        np.testing.assert_allclose(state.params["w"], value, rtol=1e-4, atol=1e-6)


def test_adam_decays_within_the_gradient():
    rng = np.random.default_rng(3)
    params = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    optimizer = meta_nets.adam(0.05, 0.3)
    state = meta_nets.init_meta(jax.tree.map(jnp.float32, params), optimizer)
    reference = helpers.Adam(params, 0.05, 0.3)
    for _ in range(3):
        grads = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        params = reference.step(params, grads)
        state = meta_nets.update_meta(state, jax.tree.map(jnp.float32, grads), optimizer)
        helpers.assert_close(state.params, params, scale=1e-5)
