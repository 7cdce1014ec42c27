import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.coupled.lookahead import TrainingPass
from dmlp_jax.coupled.meta_set import Rows
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods import losses
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.state import make_optimizer
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers

RATE = 0.7


def passed(train, **changes):
    """A network, its state, and its pass over the first eight noisy rows."""
    config = retrain_helpers.settings("mlc", **changes)
    network = Network(config, Task(3, 2, None), make_optimizer(config, learning_rates.make(config)))
    state = jax.jit(lambda key: network.init(key, train.inputs))(jax.random.key(3))
    return (
        network,
        state,
        TrainingPass(network, state, jnp.asarray(train.inputs[:8]), jax.random.key(4), None),
    )


@pytest.fixture
def goals():
    """Targets whose rows do not sum to one."""
    return np.random.default_rng(5).uniform(size=(8, 3))


def test_slopes_are_the_differences_of_the_clean_loss_after_a_step(goals):
    train = helpers.training_set()
    noisy, _, clean, truth = helpers.parts(train, range(8), range(6))
    _, state, done = passed(train)
    weights = retrain_helpers.head(state.params)

    def after(targets):
        return retrain_helpers.descended(weights, helpers.loss_gradient(weights, noisy, targets), RATE)

    expected = helpers.differences(lambda targets: helpers.loss(after(targets), clean, truth), goals)
    _, judged = done.clean_gradient(
        {"head": dict(zip(("kernel", "bias"), map(jnp.float32, after(goals)), strict=True))},
        Rows(jnp.float32(clean), jnp.float32(truth)),
        jax.random.key(6),
    )
    found = done.target_slopes(jax.tree.map(lambda g: -RATE * g, judged))
    helpers.assert_close(found, expected)
    found = done.meta_gradient(
        lambda targets: targets, jnp.float32(goals), RATE, Rows(jnp.float32(clean), jnp.float32(truth)),
        jax.random.key(6),
    )  # fmt: skip
    np.testing.assert_allclose(found[0], helpers.loss(after(goals), clean, truth), rtol=1e-5)
    helpers.assert_close(found[1], expected)


def test_slopes_are_exact_through_batch_norm(goals):
    """Against jax.grad through the whole step, which differentiates twice."""
    train = helpers.training_set()
    network, state, done = passed(train, model="mlp")
    clean = Rows(jnp.asarray(train.inputs[12:]), jnp.asarray(train.targets[12:]))
    keys = jax.random.key(4), jax.random.key(6)

    def loss(params, inputs, targets, key):
        logits, _ = network.train_logits(params, state.batch_stats, inputs, key, None)
        return jnp.mean(losses.cross_entropy(logits, targets))

    def after(targets):
        grads = jax.grad(loss)(state.params, jnp.asarray(train.inputs[:8]), targets, keys[0])
        moved = jax.tree.map(lambda w, g: w - RATE * g, state.params, grads)
        return loss(moved, clean.inputs, clean.targets, keys[1])

    found = jax.jit(lambda goals: done.meta_gradient(lambda targets: targets, goals, RATE, clean, keys[1])[1])
    found = found(jnp.float32(goals))
    expected = jax.jit(jax.grad(after))(jnp.float32(goals))
    assert np.abs(expected).max() > 1e-3
    helpers.assert_close(found, expected)


def test_pass_has_the_features_below_the_last_layer():
    train = helpers.training_set()
    network, state, done = passed(train, model="mlp")
    kernel, bias = retrain_helpers.head(state.params)
    np.testing.assert_allclose(np.float64(done.features) @ kernel + bias, done.logits, atol=1e-5)
    logits, features = network.outputs(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(np.float64(features) @ kernel + bias, logits, atol=1e-5)
    np.testing.assert_array_equal(logits, network.logits(state, jnp.asarray(train.inputs)))
    assert np.abs(features[:8] - done.features).max() > 0.1
