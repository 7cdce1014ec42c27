"""Steps of MSLC, Meta-Weight-Net and L2R against NumPy in float64, meta gradients by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.coupled import l2r, relabel
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import LR, softmax

ROWS, CLEAN = [4, 0, 9, 2, 7, 11], [5, 0, 3, 1, 4, 2]


def started(name, **changes):
    train = helpers.training_set()
    own = {"weight_width": 4, "meta_lr": 0.05, "meta_decay": 0.01} if name != "l2r" else {}
    config = retrain_helpers.settings(name, batch_size=6, **own, **changes)
    return train, *retrain_helpers.make(config, train)


def one_hot(values):
    return np.eye(values.shape[1])[values.argmax(axis=1)]


def test_steps_of_meta_weight_net():
    train, made, state = started("meta_weight_net", lookahead_scale=2.0)
    noisy, given, clean, truth = helpers.parts(train, ROWS, CLEAN)
    weights, params = retrain_helpers.head(state.network.params), helpers.float64(state.weights.params)
    adam, table = helpers.Adam(params, 0.05, 0.01), np.zeros(helpers.NOISY)
    for _ in range(3):
        costs = retrain_helpers.cross_entropy(retrain_helpers.logits(weights, noisy), given)

        def moved(params, rate):
            targets = helpers.weight(params, costs)[:, None] * given  # noqa: B023
            grads = helpers.loss_gradient(weights, noisy, targets)  # noqa: B023
            return retrain_helpers.descended(weights, grads, rate)  # noqa: B023

        def meta_loss(params):
            return helpers.loss(moved(params, 2 * LR), clean, truth)

        grads = helpers.differences(meta_loss, params)
        expected_meta_loss = meta_loss(params)
        params = adam.step(params, grads)
        values = helpers.weight(params, costs)
        weights = moved(params, LR)
        table[ROWS] = 0.9 * table[ROWS] + 0.1 * values
        state, metrics = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
        helpers.assert_close(helpers.momentum_of(state.weights.opt_state), adam.mu, scale=1e-3)
        helpers.assert_close(state.weights.params, params, scale=1e-3)
        retrain_helpers.assert_head(state.network.params, weights, atol=1e-4)
        np.testing.assert_allclose(state.table, table, rtol=1e-3)
        np.testing.assert_allclose(metrics["meta_loss"], expected_meta_loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["loss"], np.mean(values * costs), rtol=1e-3)


def test_steps_of_mslc():
    train, made, state = started("mslc", lookahead_scale=2.0)
    noisy, given, clean, truth = helpers.parts(train, ROWS, CLEAN)
    weights, params = retrain_helpers.head(state.network.params), helpers.float64(state.weights.params)
    adam = helpers.Adam(params, 0.05, 0.01)
    rng = np.random.default_rng(7)
    table = rng.dirichlet(np.ones(3), size=helpers.NOISY)
    state = state._replace(table=jnp.float32(table))
    for _ in range(3):
        past = table[ROWS].copy()
        logits = retrain_helpers.logits(weights, noisy)
        given_cost = retrain_helpers.cross_entropy(logits, given)
        past_cost = retrain_helpers.cross_entropy(logits, one_hot(past))

        def blend(params, past, present):
            v = helpers.weight(params["given"], given_cost)[:, None]  # noqa: B023
            v1 = helpers.weight(params["past"], past_cost)[:, None]  # noqa: B023
            return v * given + (1 - v) * (v1 * past + (1 - v1) * present)

        def moved(params, rate):
            targets = blend(params, one_hot(past), one_hot(logits))  # noqa: B023
            grads = helpers.loss_gradient(weights, noisy, targets)  # noqa: B023
            return retrain_helpers.descended(weights, grads, rate)  # noqa: B023

        grads = helpers.differences(lambda p: helpers.loss(moved(p, 2 * LR), clean, truth), params)
        params = adam.step(params, grads)
        weights = moved(params, LR)
        table[ROWS] = blend(params, past, softmax(logits))
        state, _ = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
        helpers.assert_close(helpers.momentum_of(state.weights.opt_state), adam.mu, scale=1e-3)
        helpers.assert_close(state.weights.params, params, scale=1e-3)
        retrain_helpers.assert_head(state.network.params, weights, atol=1e-4)
        np.testing.assert_allclose(state.table, table, atol=1e-4)
    found = made.correct(state, None, None, jnp.array([3, 4]))
    np.testing.assert_allclose(found, table[[3, 4]], atol=1e-4)


def test_mslc_begins_with_cross_entropy_and_remembers_what_it_predicted():
    train, made, state = started("mslc")
    np.testing.assert_array_equal(state.table, train.targets[: helpers.NOISY])
    noisy, given, _, _ = helpers.parts(train, ROWS, CLEAN)
    weights, table = retrain_helpers.head(state.network.params), np.float64(state.table)
    whole = helpers.batch(train, ROWS, CLEAN)
    plain = whole._replace(data={"train": whole.data["train"]}, rows={"train": whole.rows["train"]})
    after, metrics = made.train_step(state, plain, axis_name=None)
    retrain_helpers.assert_head(
        after.network.params, retrain_helpers.descended(weights, helpers.loss_gradient(weights, noisy, given))
    )
    table[ROWS] = softmax(retrain_helpers.logits(weights, noisy))
    np.testing.assert_allclose(after.table, table, atol=1e-5)
    retrain_helpers.assert_same(after.weights, state.weights)
    assert "meta_loss" not in metrics


def test_mslc_plans_clean_rows_from_its_start_on():
    train, made, state = started("mslc", correct_start=0.3)
    plan = made.make_planner(train, jax.local_devices()[:1])
    for epoch in range(5):
        _, planned = plan(state, epoch, jax.random.key(epoch))
        assert set(planned.indices) == ({"train"} if epoch < 3 else {"train", "meta"})


def test_steps_of_l2r():
    train, made, state = started("l2r")
    noisy, given, clean, truth = helpers.parts(train, ROWS, CLEAN)
    weights, table = retrain_helpers.head(state.network.params), np.zeros(helpers.NOISY)
    for _ in range(3):
        row_grads = [
            helpers.loss_gradient(weights, noisy[i : i + 1], given[i : i + 1]) for i in range(len(ROWS))
        ]

        def ahead(shares):
            summed = [sum(e * g[part] for e, g in zip(shares, row_grads, strict=True)) for part in (0, 1)]  # noqa: B023
            return helpers.loss(retrain_helpers.descended(weights, summed, 1.0), clean, truth)  # noqa: B023

        raw = np.maximum(0.0, -helpers.differences(ahead, np.zeros(len(ROWS))))
        assert 0 < np.sum(raw > 0) < len(ROWS)
        chosen = raw / raw.sum()
        costs = retrain_helpers.cross_entropy(retrain_helpers.logits(weights, noisy), given)
        summed = [sum(e * g[part] for e, g in zip(chosen, row_grads, strict=True)) for part in (0, 1)]
        state, metrics = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
        np.testing.assert_allclose(metrics["loss"], np.sum(chosen * costs), rtol=1e-3)
        np.testing.assert_allclose(metrics["kept"], np.mean(raw > 0), rtol=1e-6)
        weights = retrain_helpers.descended(weights, summed)
        retrain_helpers.assert_head(state.network.params, weights, atol=1e-4)
        table[ROWS] = 0.9 * table[ROWS] + 0.1 * chosen * len(ROWS)
        np.testing.assert_allclose(state.table, table, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [([-1.0, -2.0], [0.0, 0.0]), ([3.0, -1.0, 1.0, 0.0], [3.0, 0.0, 1.0, 0.0]), ([1e-20, 3e-20], [0.5, 1.5])],
)
def test_weights_of_l2r_are_clipped_and_their_mean_is_one_or_they_are_all_zero(raw, expected):
    np.testing.assert_allclose(l2r.normalized(jnp.float32(raw), None), expected, rtol=1e-6)


def test_light_rows_are_labelled_by_the_prediction():
    table = jnp.array([0.1, 0.9, 0.5, 0.5])
    given = jnp.eye(2)[jnp.array([0, 0, 0])]
    probs = jnp.array([[0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    found = relabel.correct(table, jnp.array([1, 0, 3]), given, probs)
    np.testing.assert_allclose(found, [[1, 0], [0.2, 0.8], [1, 0]])
