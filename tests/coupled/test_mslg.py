"""Steps of MSLG against NumPy in float64, the gradient of the labels by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import log_softmax, softmax

ROWS, CLEAN = [4, 0, 9, 2, 7, 11], [5, 0, 3, 1, 4, 2]
ALPHA, BETA, GAMMA, K = 0.7, 30.0, 0.6, 2.0


def started(**changes):
    train = helpers.training_set()
    own = {"lookahead_lr": ALPHA, "label_lr": BETA, "entropy_weight": GAMMA, "label_scale": K} | changes
    return train, *retrain_helpers.make(retrain_helpers.settings("mslg", batch_size=6, **own), train)


def fit(weights, inputs, labels):
    """Mean over rows and classes of p (log p - log d)."""
    log_probs = log_softmax(retrain_helpers.logits(weights, inputs))
    return np.mean(np.exp(log_probs) * (log_probs - np.log(softmax(labels) + 1e-10)))


def entropy(weights, inputs):
    """Mean over rows and classes of -p log p."""
    log_probs = log_softmax(retrain_helpers.logits(weights, inputs))
    return -np.mean(np.exp(log_probs) * log_probs)


def test_steps_of_mslg():
    train, made, state = started()
    np.testing.assert_array_equal(state.table, K * train.targets[: helpers.NOISY])
    noisy, _, clean, truth = helpers.parts(train, ROWS, CLEAN)
    weights = retrain_helpers.head(state.network.params)
    rng = np.random.default_rng(7)
    table = 3 * rng.normal(size=(helpers.NOISY, 3))
    # One class is ruled out so clearly that 1e-10 counts.
    table[ROWS[0], 1] -= 25.0
    state = state._replace(table=jnp.float32(table))
    for _ in range(3):
        labels = table[ROWS]

        def meta_loss(labels):
            grads = helpers.differences(lambda w: fit(w, noisy, labels), weights)  # noqa: B023
            return helpers.loss(retrain_helpers.descended(weights, grads, ALPHA), clean, truth)  # noqa: B023

        slopes = helpers.differences(meta_loss, labels, step=1e-4)
        expected_meta_loss = meta_loss(labels)
        table[ROWS] = labels = labels - BETA * slopes
        assert np.abs(BETA * slopes).max() > 0.05

        def whole(weights):
            return fit(weights, noisy, labels) + GAMMA * entropy(weights, noisy)  # noqa: B023

        expected_loss = whole(weights)
        weights = retrain_helpers.descended(weights, helpers.differences(whole, weights))
        state, metrics = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
        np.testing.assert_allclose(state.table, table, atol=2e-3 * np.abs(BETA * slopes).max())
        np.testing.assert_allclose(metrics["meta_loss"], expected_meta_loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["loss"], expected_loss, rtol=1e-3)
        retrain_helpers.assert_head(state.network.params, weights, atol=1e-4)
    np.testing.assert_allclose(
        made.correct(state, None, None, jnp.array([3, 4])), softmax(table[[3, 4]]), atol=1e-3
    )


def test_mslg_begins_with_cross_entropy_and_keeps_the_labels():
    train, made, state = started(correct_start=0.3)
    noisy, given, _, _ = helpers.parts(train, ROWS, CLEAN)
    weights = retrain_helpers.head(state.network.params)
    whole = helpers.batch(train, ROWS, CLEAN)
    plain = whole._replace(data={"train": whole.data["train"]}, rows={"train": whole.rows["train"]})
    after, metrics = made.train_step(state, plain, axis_name=None)
    retrain_helpers.assert_head(
        after.network.params, retrain_helpers.descended(weights, helpers.loss_gradient(weights, noisy, given))
    )
    np.testing.assert_array_equal(after.table, state.table)
    assert "meta_loss" not in metrics
    plan = made.make_planner(train, jax.local_devices()[:1])
    parts = [set(plan(state, epoch, jax.random.key(epoch))[1].indices) for epoch in range(5)]
    assert parts == [{"train"}] * 3 + [{"train", "meta"}] * 2


def test_labels_without_scale_are_refused():
    with pytest.raises(UserError, match=r"label_scale is 0\.0; it must be above 0"):
        started(label_scale=0.0)
