"""PENCIL against NumPy in float64, written from the paper's equations and the authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import pencil
from tests.retrain import helpers
from tests.retrain.helpers import log_softmax, softmax

ROWS = [4, 0, 9, 2, 7, 11, 1, 5]
SETTINGS = {
    "correct_start": 0.3, "correct_stop": 0.7, "label_scale": 4.0, "label_lr": 6.0, "label_lr_drop": 0.5,
    "compatibility": 0.3, "entropy": 0.7,
}  # fmt: skip


def label_losses(labels, probs, targets, double_softmax):
    """Of each row, what its label's logits are changed by; without the network's entropy."""
    found = softmax(labels)
    distance = np.mean(probs * (np.log(probs) - log_softmax(labels)), axis=1)
    keep = helpers.cross_entropy(found if double_softmax else labels, targets)
    return distance + 0.3 * keep


def slopes_by_differences(function, values, step=1e-6):
    found = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        moves = np.zeros_like(values)
        moves[place] = step
        found[place] = (function(values + moves) - function(values - moves))[place[0]] / (2 * step)
    return found


def made(train, **changes):
    method, state = helpers.make(helpers.settings("pencil", **{**SETTINGS, **changes}), train)
    rng = np.random.default_rng(3)
    return method, state._replace(logits=state.logits + jnp.float32(rng.normal(size=state.logits.shape)))


def narrow():
    """Inputs that leave all probabilities well above zero."""
    train = helpers.training_set()
    return train._replace(inputs=train.inputs / 4)


@pytest.mark.parametrize("double_softmax", [True, False])
@pytest.mark.parametrize("epoch", [3.0, 4.9, 5.0, 6.9])
def test_step_while_labels_are_corrected(epoch, double_softmax):
    train = narrow()
    method, state = made(train, double_softmax=double_softmax)
    after, metrics = helpers.step(method, state, train, ROWS, epoch=epoch)
    weights, inputs, targets = helpers.head(state.network.params), train.inputs[ROWS], train.targets[ROWS]
    labels = np.float64(state.logits)[ROWS]
    logits = helpers.logits(weights, inputs)
    probs = softmax(logits)

    def network_losses(values):
        own, logs = softmax(values), log_softmax(values)
        return np.mean(own * (logs - log_softmax(labels)) - 0.7 * own * logs, axis=1)

    np.testing.assert_allclose(metrics["loss"], network_losses(logits).mean(), rtol=1e-4)
    slopes = slopes_by_differences(network_losses, logits) / len(ROWS)
    helpers.assert_head(after.network.params, helpers.descended(weights, helpers.gradient(inputs, slopes)))
    rate = 6.0 if epoch < 5 else 3.0
    moves = slopes_by_differences(lambda values: label_losses(values, probs, targets, double_softmax), labels)
    np.testing.assert_allclose(after.logits[np.array(ROWS)], labels - rate * moves, rtol=1e-4, atol=1e-4)
    assert np.abs(rate * moves).max() > 0.1
    others = np.setdiff1d(np.arange(12), ROWS)
    np.testing.assert_array_equal(after.logits[others], state.logits[others])


@pytest.mark.parametrize(("epoch", "given"), [(0.0, True), (2.9, True), (7.0, False), (9.9, False)])
def test_before_and_after_the_labels_stay(epoch, given):
    train = narrow()
    method, state = made(train)
    after, metrics = helpers.step(method, state, train, ROWS, epoch=epoch)
    np.testing.assert_array_equal(after.logits, state.logits)
    logits = helpers.logits(helpers.head(state.network.params), train.inputs[ROWS])
    if given:
        expected = helpers.cross_entropy(logits, train.targets[ROWS]).mean()
    else:
        logs = log_softmax(np.float64(state.logits)[ROWS])
        expected = np.mean(softmax(logits) * (log_softmax(logits) - logs))
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_labels_start_at_the_given_ones_and_are_what_is_exported():
    train = helpers.training_set()
    soft = np.random.default_rng(0).dirichlet(np.ones(3), size=12).astype(np.float32)
    for targets in (train.targets, soft):
        method, state = helpers.make(helpers.settings("pencil", **SETTINGS), train._replace(targets=targets))
        rows = jnp.array([3, 1])
        found = method.correct(state, train.inputs[rows], targets[rows], rows)
        np.testing.assert_allclose(found, softmax(4.0 * np.float64(targets[[3, 1]])), rtol=1e-5)
        np.testing.assert_array_equal(found.argmax(axis=1), targets[[3, 1]].argmax(axis=1))


def test_divergence_is_zero_at_the_label_and_a_mean_over_classes():
    logits = jnp.float32(np.random.default_rng(0).normal(size=(5, 4)))
    np.testing.assert_allclose(pencil.divergence(logits, logits + 2.0), 0.0, atol=1e-6)
    uniform = pencil.divergence(jnp.float32([[30.0, 0, 0, 0]]), jnp.zeros((1, 4)))
    np.testing.assert_allclose(uniform, np.log(4) / 4, rtol=1e-5)


@pytest.mark.parametrize("shares", [(0.7, 0.3), (-0.1, 0.5), (0.5, 1.5), (0.5, 0.5)])
def test_impossible_shares_are_refused(shares):
    start, stop = shares
    with pytest.raises(UserError, match=r"recipes\.pencil\.correct_start is"):
        made(helpers.training_set(), correct_start=start, correct_stop=stop)


def test_noise_rate_is_not_needed_and_keys_alone_decide():
    train = helpers.training_set(noise_rate=None)
    first, second = (helpers.step(*made(train), train, ROWS, epoch=4.0) for _ in range(2))
    helpers.assert_same(first, second)
    assert jax.tree.leaves(first)
