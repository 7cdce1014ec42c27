"""Joint-Optim against NumPy in float64, written from the paper's equations and the authors' code."""

import jax
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import joint_optim
from tests.retrain import helpers
from tests.retrain.helpers import log_softmax, softmax, through_softmax

SETTINGS = {
    "correct_start": 0.2, "label_memory": 3, "class_prior": 1.2, "entropy": 0.8, "batch_size": 4, "lr": 0.1,
}  # fmt: skip
DEVICES = jax.local_devices()[:1]


def made(train, **changes):
    return helpers.make(helpers.settings("joint_optim", **{**SETTINGS, **changes}), train)


def objective(logits, labels):
    """The loss of a batch, and its slopes with respect to the logits."""
    probs, logs = softmax(logits), log_softmax(logits)
    mean, classes = probs.mean(axis=0), probs.shape[1]
    # Without the constant, the authors' -sum 1/c log mean.
    uneven = -np.log(mean).mean() - np.log(classes)
    value = (
        helpers.cross_entropy(logits, labels).mean() + 1.2 * uneven - 0.8 * (probs * logs).sum(axis=1).mean()
    )
    slopes = (labels.sum(axis=1, keepdims=True) * probs - labels) / len(logits)
    slopes = slopes + 1.2 * through_softmax(
        probs, np.broadcast_to(-1 / (classes * mean * len(logits)), probs.shape)
    )
    return value, slopes - 0.8 * through_softmax(probs, (logs + 1) / len(logits))


def test_epochs_are_the_papers():
    """Three epochs on the given labels or on means of predictions, each row of every step checked."""
    train = helpers.training_set()
    train = train._replace(inputs=train.inputs / 4)
    method, state = made(train)
    plan = method.make_planner(train, DEVICES)
    weights = helpers.head(state.network.params)
    every, labels = [], np.float64(train.targets)
    for epoch in range(5):
        state, steps = plan(state, epoch, jax.random.key(epoch))
        if epoch >= 2:
            labels = np.mean(every[-3:], axis=0)
        np.testing.assert_allclose(state.labels, labels, rtol=1e-4, atol=1e-5)
        assert steps.indices.shape == (3, 4)
        every.append(np.zeros((12, 3)))
        for number, rows in enumerate(steps.indices):
            logits = helpers.logits(weights, train.inputs[rows])
            value, slopes = objective(logits, labels[rows])
            every[-1][rows] = softmax(logits)
            weights = helpers.descended(weights, helpers.gradient(train.inputs[rows], slopes), 0.1)
            state, metrics = helpers.step(method, state, train, rows, epoch=epoch + number / 3)
            np.testing.assert_allclose(metrics["loss"], value, rtol=1e-4, atol=1e-5)
        helpers.assert_head(state.network.params, weights, atol=1e-4)
        # What is exported after this epoch is what the next one learns.
        found = method.correct(state, train.inputs, train.targets, np.arange(12))
        expected = np.mean(every[-3:], axis=0) if epoch >= 1 else train.targets
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(labels - train.targets).max() > 0.3


def test_epochs_without_a_prediction_do_not_count():
    rng = np.random.default_rng(0)
    predictions, targets = rng.dirichlet(np.ones(4), size=(3, 5)), np.eye(4)[np.arange(5) % 4]
    predictions[1, 2] = predictions[:2, 3] = predictions[:, 4] = 0
    found = joint_optim.mean_prediction(predictions.astype(np.float32), targets.astype(np.float32))
    np.testing.assert_allclose(found[:2], predictions[:, :2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[2], predictions[[0, 2], 2].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[3], predictions[2, 3], rtol=1e-5)
    np.testing.assert_allclose(found[4], targets[4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_memory": 0}, r"recipes\.joint_optim\.label_memory is 0"),
        ({"correct_start": 0.0}, r"recipes\.joint_optim\.correct_start is 0\.0"),
        ({"correct_start": 1.2}, r"recipes\.joint_optim\.correct_start is 1\.2"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        made(helpers.training_set(), **changes)


def test_noise_rate_is_not_needed():
    made(helpers.training_set(noise_rate=None))
