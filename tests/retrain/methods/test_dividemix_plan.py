"""Which rows DivideMix's epochs train on, with and without labels."""

import jax
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods import division
from dmlp_jax.retrain.methods.dividemix import make_dividemix
from tests.retrain.methods.dividemix_helpers import (
    dividemix_settings,
    equal_trees,
    heads,
    random_rows,
    softmax,
    with_heads,
)

SIZE, ROWS, WARMUP = 10, 80, 3
KEY = jax.random.key(11)


def planned(train, **changes):
    """The pair before training, and its planner."""
    settings = dividemix_settings(batch_size=SIZE, divide_warmup=WARMUP, **changes)
    chosen = make_dividemix(settings, Task(3, 10, None))
    state = chosen.init(jax.random.key(0), train)
    return state, chosen.make_planner(train, jax.local_devices()[:1])


def divided(noise_rate=0.3, seed=0, rows=ROWS):
    """Rows of which the first feature's sign says whether network 0 likes the label; the second, network 1.

    Both read the label off the features behind those two, one with a factor of either sign.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=rows)
    likes = rng.choice([-1.0, 1.0], size=(2, rows))
    one_hot = np.eye(3)[labels]
    signed = np.concatenate([(likes[0][:, None] * one_hot), (likes[1][:, None] * one_hot)], axis=1)
    train = random_rows(seed, rows, width=6, noise_rate=noise_rate)
    jitter = 0.05 * rng.normal(size=(rows, 6))
    return train._replace(inputs=np.float32(signed + jitter), targets=np.float32(one_hot)), likes


def opinionated(state):
    """Network 0 reads the first three features, network 1 the others."""
    kernel = np.zeros((2, 6, 3))
    kernel[0, :3] = kernel[1, 3:] = 2 * np.eye(3)
    return with_heads(state, kernel, np.zeros((2, 3)))


def reference_losses(state, train):
    """Cross-entropy of both networks on all rows, each mapped onto [0, 1]."""
    kernel, bias = heads(state)
    found = []
    for one, shift in zip(kernel, bias, strict=True):
        costs = -np.sum(train.targets * np.log(softmax(np.float64(train.inputs) @ one + shift)), axis=1)
        found.append((costs - costs.min()) / np.ptp(costs))
    return np.stack(found)


def judged(values):
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=1).fit(values[:, None])
    return mixture.predict_proba(values[:, None])[:, np.argmin(mixture.means_)]


def rows_of(plan, which, part):
    return plan.indices[part][plan.info["network"] == which]


@pytest.mark.parametrize("epoch", range(WARMUP))
def test_warm_up_shows_both_networks_every_row_once(epoch):
    train = random_rows(0, ROWS)
    state, planner = planned(train)
    after, plan = planner(state, epoch, KEY)
    assert set(plan.indices) == {"all"}
    assert plan.indices["all"].shape == (2 * ROWS // (2 * SIZE), 2 * SIZE)
    np.testing.assert_array_equal(plan.info["network"], [0] * 4 + [1] * 4)
    orders = [rows_of(plan, which, "all").ravel() for which in (0, 1)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(ROWS))
    assert np.any(orders[0] != orders[1])
    assert equal_trees(after, state)


def test_each_network_takes_its_labels_from_the_others_judgement():
    train, likes = divided()
    state, planner = planned(train)
    after, plan = planner(opinionated(state), WARMUP, KEY)
    for which in (0, 1):
        kept = set(np.flatnonzero(likes[1 - which] > 0))
        assert kept != set(np.flatnonzero(likes[which] > 0))
        labelled = rows_of(plan, which, "labelled")
        assert set(labelled.ravel()) == kept
        assert set(rows_of(plan, which, "unlabelled").ravel()) <= set(range(ROWS)) - kept
        assert labelled.shape == rows_of(plan, which, "unlabelled").shape == (-(-len(kept) // SIZE), SIZE)
        np.testing.assert_array_equal(after.clean[which] > 0.5, likes[which] > 0)
        share = plan.info["labelled"][plan.info["network"] == which]
        np.testing.assert_allclose(share, len(kept) / ROWS, rtol=1e-6)
    np.testing.assert_array_equal(np.sort(plan.info["network"]), plan.info["network"])


def test_judgement_is_the_mixtures_on_losses_of_the_present_networks():
    train, _ = divided(seed=1)
    state, planner = planned(train)
    state = with_heads(state, 0.5 * np.random.default_rng(2).normal(size=(2, 6, 3)), np.zeros((2, 3)))
    after, _ = planner(state, WARMUP, KEY)
    losses = reference_losses(state, train)
    np.testing.assert_allclose(after.losses[:, 0], losses, atol=1e-5)
    np.testing.assert_allclose(after.clean, [judged(one) for one in losses], atol=1e-3)
    assert equal_trees(after.networks, state.networks)


@pytest.mark.parametrize(("noise_rate", "top"), [(0.18, 0.0), (0.45, 25.0), (0.72, 25.0), (0.81, 50.0)])
def test_weight_of_unlabelled_rows_rises_over_sixteen_epochs(noise_rate, top):
    train, _ = divided(noise_rate)
    state, planner = planned(train)
    state = opinionated(state)
    for done in (0, 1, 8, 15, 16, 30):
        _, plan = planner(state, WARMUP + done, KEY)
        for which in (0, 1):
            found = plan.info["lambda_u"][plan.info["network"] == which]
            steps = len(found)
            assert steps > 1
            expected = [top * min((done + step / steps) / 16, 1) for step in range(steps)]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert found.dtype == np.float32


def test_ramp_has_the_length_that_is_set():
    train, _ = divided(0.45)
    state, planner = planned(train, lambda_u_ramp=4, lambda_u=8.0)
    _, plan = planner(opinionated(state), WARMUP + 2, KEY)
    np.testing.assert_allclose(plan.info["lambda_u"][0], 4.0)


@pytest.mark.parametrize(("noise_rate", "memory"), [(0.72, 1), (0.81, 5)])
def test_losses_of_the_last_epochs_are_averaged_under_heavy_noise(noise_rate, memory, monkeypatch):
    calls = []

    def remember(values, seed, *_):
        calls.append((values, seed))
        return np.float32(1 - values)

    monkeypatch.setattr(division, "clean_probability", remember)
    train, _ = divided(noise_rate)
    state, planner = planned(train)
    history, rng = [], np.random.default_rng(0)
    for done in range(7):
        state = with_heads(state, rng.normal(size=(2, 6, 3)), np.zeros((2, 3)))
        history.insert(0, reference_losses(state, train))
        state, _ = planner(state, WARMUP + done, jax.random.fold_in(KEY, done))
        known = np.stack(history[:memory], axis=1)
        assert state.losses.shape == (2, memory, ROWS)
        np.testing.assert_allclose(state.losses[:, : known.shape[1]], known, atol=1e-5)
        assert np.all(np.isnan(state.losses[:, known.shape[1] :]))
        np.testing.assert_allclose([values for values, _ in calls[-2:]], known.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(state.clean, 1 - known.mean(axis=1), atol=1e-5)
    assert len({seed for _, seed in calls}) == len(calls) == 14


@pytest.mark.parametrize(("noise_rate", "threshold"), [(0.72, 0.5), (0.81, 0.6)])
def test_threshold_follows_the_noise(noise_rate, threshold):
    train, _ = divided(noise_rate, rows=400)
    state, planner = planned(train)
    state = with_heads(state, 0.3 * np.random.default_rng(5).normal(size=(2, 6, 3)), np.zeros((2, 3)))
    after, plan = planner(state, WARMUP, KEY)
    for which in (0, 1):
        kept = np.flatnonzero(after.clean[1 - which] > threshold)
        assert set(rows_of(plan, which, "labelled").ravel()) == set(kept)
    between = (after.clean > 0.5) & (after.clean <= 0.6)
    assert np.any(between)


@pytest.mark.parametrize(("bound", "wrong"), [(False, 0.5), (True, 0.1)])
def test_noise_rate_bounds_what_is_judged_wrong_if_asked_to(bound, wrong):
    train, _ = divided(noise_rate=0.1)
    state, planner = planned(train, bound_by_noise=bound)
    after, _ = planner(opinionated(state), WARMUP, KEY)
    np.testing.assert_allclose(np.mean(1 - after.clean, axis=1), wrong, atol=0.12 if wrong == 0.5 else 1e-3)


@pytest.mark.parametrize("epoch", [0, WARMUP])
def test_same_key_and_state_give_the_same_plan_bit_for_bit(epoch):
    train, _ = divided(0.81)
    state, planner = planned(train)
    _, again = planned(train)
    state = opinionated(state)
    first, second = planner(state, epoch, KEY), again(state, epoch, KEY)
    assert equal_trees(first[0], second[0])
    assert equal_trees(tuple(first[1]), tuple(second[1]))
    other = planner(state, epoch, jax.random.key(12))[1]
    assert not equal_trees(other.indices, first[1].indices)


def test_equal_losses_still_make_batches():
    train = random_rows(0, ROWS)
    state, planner = planned(train)
    state = with_heads(state, np.zeros((2, 4, 3)), np.zeros((2, 3)))
    after, plan = planner(state, WARMUP, KEY)
    np.testing.assert_array_equal(after.losses, 0)
    assert np.all(np.isfinite(after.clean))
    for which in (0, 1):
        sides = [set(rows_of(plan, which, part).ravel()) for part in ("labelled", "unlabelled")]
        assert not sides[0] & sides[1]
        assert min(len(side) for side in sides) >= SIZE
        assert rows_of(plan, which, "labelled").shape[1] == SIZE


@pytest.mark.parametrize(("rows", "fits"), [(2 * SIZE, True), (2 * SIZE - 1, False)])
def test_too_few_rows_for_two_batches_are_refused(rows, fits):
    train = random_rows(0, rows)
    if fits:
        assert planned(train)[0].clean.shape == (2, rows)
    else:
        with pytest.raises(UserError, match=rf"retrain\.batch_size is {SIZE} with {rows} rows.*at most 9"):
            planned(train)


def test_unknown_noise_is_refused_where_a_constant_depends_on_it():
    with pytest.raises(UserError, match=r"retrain\.noise_rate"):
        planned(random_rows(0, ROWS, noise_rate=None))
    plain = {"threshold": 0.5, "lambda_u": 25.0, "loss_memory": 1}
    assert planned(random_rows(0, ROWS, noise_rate=None), **plain)[0].losses.shape == (2, 1, ROWS)
    with pytest.raises(UserError, match=r"retrain\.noise_rate"):
        planned(random_rows(0, ROWS, noise_rate=None), bound_by_noise=True, **plain)
