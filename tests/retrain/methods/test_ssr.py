"""SSR and SSR+ against NumPy in float64, written from the paper and the authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing, ssr
from dmlp_jax.training.dispatch import Batch
from tests.retrain import helpers
from tests.retrain.test_network import projected

LABELLED, ALL = np.array([4, 0, 9, 2, 7, 11]), np.array([3, 8, 1, 10, 5, 6])
DEVICES = jax.local_devices()[:1]


def made(name, train, **changes):
    changes = {"head_width": 7, "head_dim": 4, "batch_size": 6, **changes}
    return helpers.make(helpers.settings(name, **changes), train)


def batch(train):
    rows = {"labelled": jnp.asarray(LABELLED), "all": jnp.asarray(ALL)}
    data = {part: {"inputs": jnp.asarray(train.inputs[index])} for part, index in rows.items()}
    keys = jax.random.split(jax.random.key(0), len(LABELLED) + 1)
    return Batch(data, keys[1:], keys[0], rows, jnp.float32(0), {"selected": jnp.float32(0.5)})


def fixed_mix(monkeypatch):
    """Partners from both views; the share of a row in its mixture is .7."""
    size = len(LABELLED)
    order = np.random.default_rng(1).permutation(2 * size)
    mix = mixing.Mix(np.float32(0.7), order.reshape(2, size))

    def draw(key, groups, rows, concentration, axis_name):
        assert (groups, rows, concentration, axis_name) == (2, size, 4.0, None)
        return mix

    monkeypatch.setattr(mixing, "draw", draw)
    return order


def mixed(train, targets, order):
    inputs, goals = (np.concatenate([part[LABELLED]] * 2) for part in (np.float64(train.inputs), targets))
    return (0.7 * part + 0.3 * part[order] for part in (inputs, goals))


def test_step_of_ssr_is_mixup_of_the_selected_rows(monkeypatch):
    order, train = fixed_mix(monkeypatch), helpers.training_set()
    method, state = made("ssr", train)
    # The labels of this epoch, not the given ones.
    targets = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    after, metrics = method.train_step(
        state._replace(targets=jnp.asarray(targets)), batch(train), axis_name=None
    )
    weights = helpers.head(state.network.params)
    inputs, goals = mixed(train, targets, order)
    logits = helpers.logits(weights, inputs)
    np.testing.assert_allclose(metrics["loss"], helpers.cross_entropy(logits, goals).mean(), rtol=1e-5)
    slopes = (helpers.softmax(logits) - goals) / len(goals)
    helpers.assert_head(after.network.params, helpers.descended(weights, helpers.gradient(inputs, slopes)))
    np.testing.assert_array_equal(after.targets, targets)
    assert set(metrics) == {"loss", "train_accuracy", "selected"}


def distance(params, goals, inputs):
    """-mean cos(h(f(inputs)), goals), from float64 forward passes."""
    found, _ = projected(params["projector"], inputs)
    found, _ = projected(params["predictor"], found)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(goals, axis=1)
    return -np.mean((found * goals).sum(axis=1) / lengths)


def test_step_of_ssr_plus_brings_views_together_one_way(monkeypatch):
    order, train = fixed_mix(monkeypatch), helpers.training_set()
    method, state = made("ssr_plus", train, consistency=2.5)
    after, metrics = method.train_step(state, batch(train), axis_name=None)
    params = jax.tree.map(np.float64, state.network.params)
    inputs, goals = mixed(train, train.targets, order)
    logits = helpers.logits(helpers.head(params), inputs)
    target, (mean, _) = projected(params["projector"], train.inputs[ALL])
    apart = distance(params, target, train.inputs[ALL])
    np.testing.assert_allclose(metrics["consistency"], apart, rtol=1e-4)
    fit = helpers.cross_entropy(logits, goals).mean()
    np.testing.assert_allclose(metrics["loss"], fit + 2.5 * apart, rtol=1e-4)
    # Running statistics are of the weak view, then of the strong one, here the same rows.
    running = after.network.batch_stats["projector"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(running, (1 - 0.9**2) * mean, rtol=1e-3, atol=1e-4)
    # Slopes along random directions, by finite differences; the goal does not move.
    moved = jax.tree.map(
        lambda a, b: (np.float64(a) - b) / helpers.LR, state.network.params, after.network.params
    )
    rng = np.random.default_rng(0)
    for name in ("projector", "predictor"):
        for _ in range(3):
            way = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params[name])
            ends = [
                distance(
                    {**params, name: jax.tree.map(lambda a, b: a + h * b, params[name], way)},  # noqa: B023
                    target,
                    train.inputs[ALL],
                )
                for h in (1e-5, -1e-5)
            ]
            slope = sum(
                np.sum(a * b) for a, b in zip(jax.tree.leaves(moved[name]), jax.tree.leaves(way), strict=True)
            )
            np.testing.assert_allclose(slope, 2.5 * (ends[0] - ends[1]) / 2e-5, rtol=2e-3, atol=2e-4)


def test_sure_rows_get_the_network_s_class_and_others_keep_their_label():
    probs = np.array([[0.95, 0.03, 0.02], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4], [0.0, 0.01, 0.99]])
    given = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0.2, 0.5, 0.3]])
    found = ssr.relabelled(probs, given, 0.9)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]], rtol=1e-6)


@pytest.mark.parametrize("balance", [False, True])
def test_share_of_the_vote_over_the_winner_s(balance):
    rng = np.random.default_rng(0)
    shares, targets = rng.dirichlet(np.ones(3), size=20), np.eye(3)[rng.choice(3, 20, p=[0.6, 0.3, 0.1])]
    found = ssr.shares_won(shares, targets, balance)
    counts = targets.sum(axis=0)
    for row in range(20):
        votes = [
            share / (count / 20 if balance else 1) for share, count in zip(shares[row], counts, strict=True)
        ]
        np.testing.assert_allclose(found[row], votes[targets[row].argmax()] / max(votes), rtol=1e-12)
    # A class without labels gets no votes, and no division by zero.
    assert np.all(np.isfinite(ssr.shares_won(shares * [1, 1, 0], targets * [1, 1, 0] + [1e-9, 0, 0], True)))


def test_rows_without_a_label_win_no_vote():
    # Of equal classes the first would be taken for the label, and the first class wins all votes.
    shares, targets = (
        np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2]]),
        np.array([[1.0, 0], [0.5, 0.5], [0.6, 0.4]]),
    )
    np.testing.assert_array_equal(ssr.shares_won(shares, targets, False), [1, 0, 1])


def clustered(rows=60):
    rng = np.random.default_rng(0)
    true = np.arange(rows) % 3
    inputs = (np.eye(3)[true] @ (4 * rng.normal(size=(3, 5))) + rng.normal(size=(rows, 5))).astype(np.float32)
    given = np.where(rng.random(rows) < 0.4, rng.integers(3, size=rows), true)
    return helpers.training_set(rows=rows)._replace(inputs=inputs, targets=np.eye(3, dtype=np.float32)[given])


def expected_selection(train, probs, threshold, count, balance, above):
    """Row by row: labels, and which of them win their vote."""
    given = train.targets.argmax(axis=1)
    labels = np.where(probs.max(axis=1) > threshold, probs.argmax(axis=1), given)
    unit = np.float64(train.inputs) / np.linalg.norm(train.inputs, axis=1, keepdims=True)
    sizes = np.bincount(labels, minlength=3) / len(labels)
    selected = []
    for row in range(len(labels)):
        nearest = np.argsort(-(unit @ unit[row]))[:count]
        votes = np.bincount(labels[nearest], minlength=3) / (sizes if balance else 1)
        selected.append(votes[labels[row]] / votes.max() >= above)
    return labels, np.array(selected)


@pytest.mark.parametrize(("epoch", "balance", "above"), [(3, True, 1.0), (0, True, 1.0), (3, False, 0.4)])
def test_plan_relabels_and_selects(epoch, balance, above):
    train = clustered()
    method, state = made(
        "ssr", train, neighbours=9, relabel_above=0.8, balance_vote=balance, select_above=above, batch_size=8
    )
    probs = np.asarray(method.predict(state, jnp.asarray(train.inputs)))
    assert 5 < np.sum(probs.max(axis=1) > 0.8) < 55
    threshold = 0.8 if epoch else 1.0
    labels, selected = expected_selection(train, np.float64(probs), threshold, 9, balance, above)
    plan = method.make_planner(train, DEVICES)
    after, found = plan(state, epoch, jax.random.key(5))
    np.testing.assert_array_equal(after.targets.argmax(axis=1), labels)
    assert found.steps == 60 // 8
    assert 0.2 < selected.mean() < 1
    np.testing.assert_allclose(found.info["selected"], selected.mean(), rtol=1e-6)
    changed = labels != train.targets.argmax(axis=1)
    np.testing.assert_allclose(found.info["relabelled"], changed.mean(), rtol=1e-6)
    seen = found.indices["labelled"].ravel()
    assert set(seen) <= set(np.flatnonzero(selected))
    assert len(set(seen)) > selected.sum() / 2
    assert len(set(found.indices["all"].ravel())) == 56
    # The plan starts from the given labels again, and follows the key.
    again, same = plan(after, epoch, jax.random.key(5))
    helpers.assert_same((again.targets, same.indices), (after.targets, found.indices))
    corrected = method.correct(state, train.inputs, train.targets, jnp.arange(60))
    np.testing.assert_array_equal(
        np.argmax(corrected, axis=1),
        np.where(probs.max(axis=1) > 0.8, probs.argmax(axis=1), train.targets.argmax(axis=1)),
    )


def test_rows_of_an_epoch_may_be_drawn_evenly_by_given_class():
    train = clustered()
    method, state = made("ssr_plus", train, neighbours=5, epoch_rows=30, batch_size=8)
    plan = method.make_planner(train, DEVICES)
    seen = set()
    for epoch in (0, 1):
        _, found = plan(state, epoch, jax.random.key(epoch))
        rows = np.unique(found.indices["all"])
        assert found.steps == 3
        assert set(found.indices["labelled"].ravel()) <= set(range(60))
        assert len(rows) == 24
        assert np.all(np.bincount(train.targets.argmax(axis=1)[rows]) <= 10)
        seen |= set(rows)
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighbours": 0}, r"recipes\.ssr\.neighbours is 0"),
        ({"select_above": 1.5}, r"recipes\.ssr\.select_above is 1\.5"),
        ({"mixup": 0.0}, r"recipes\.ssr\.mixup is 0\.0"),
        ({"relabel_above": 2.0}, r"recipes\.ssr\.relabel_above is 2\.0"),
        ({"batch_size": 13}, r"retrain\.batch_size is 13 with 12 rows"),
        ({"batch_size": 8, "epoch_rows": 6}, r"retrain\.batch_size is 8 with 6 rows"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        made("ssr", helpers.training_set(), **{"batch_size": 4, **changes})


def test_unknown_noise_rate_is_refused_where_the_threshold_depends_on_it():
    table = ((0.0, 0.9), (0.3, 0.8))
    with pytest.raises(UserError, match=r"recipes\.ssr\.relabel_above depends on it.*retrain\.noise_rate="):
        made("ssr", helpers.training_set(noise_rate=None), batch_size=4, relabel_above=table)
    _, state = made("ssr", helpers.training_set(noise_rate=0.5), batch_size=4, relabel_above=table)
    assert float(state.threshold) == pytest.approx(0.8)


def test_one_class_is_learned():
    train = helpers.training_set()
    train = train._replace(targets=np.eye(3, dtype=np.float32)[np.zeros(12, int)])
    method, state = made("ssr", train, batch_size=4)
    _, found = method.make_planner(train, DEVICES)(state, 1, jax.random.key(0))
    assert found.indices["labelled"].shape == (3, 4)
