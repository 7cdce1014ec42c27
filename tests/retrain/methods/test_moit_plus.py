import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing
from dmlp_jax.retrain.methods.interpolated_contrast import Pairs, interpolated_contrast
from dmlp_jax.training.contrast import Queue
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, softmax

ROWS = np.array([4, 0, 9, 2, 7, 11, 1, 5])
SHARES = (0.7, 0.9)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def settings(**changes):
    own = {"projection_width": 3, "batch_size": 8, "neighbours": 4, "memory_per_class": 3}
    return helpers.settings("moit_plus", **(own | changes))


def fixed_mixes(monkeypatch, rng):
    """Replaces the random mixes; returns the partners of the two."""
    partners = [rng.permutation(8) for _ in SHARES]
    calls = []

    def draw(*arguments):
        calls.append(arguments[1:])
        number = len(calls) - 1
        return mixing.Mix(jnp.float32(SHARES[number]), jnp.asarray(partners[number][None]))

    monkeypatch.setattr(mixing, "draw", draw)
    return partners, calls


def losses_among(anchors, pairs, keys, labels, numbers, own, temperature):
    """The loss of each mixed row, by the definition, one row at a time.

    `numbers` are those of the rows of the batch that the keys belong to, -1 for keys of earlier batches.
    """
    found = []
    for number, anchor in enumerate(anchors):
        major, minor, share, partner = (part[number] for part in pairs)
        others = np.array([k for k in range(len(keys)) if k != own[number] and labels[k] >= 0])
        scores = keys[others] @ anchor / temperature
        logs = scores - np.log(np.exp(scores).sum())
        own_class = (labels[others] == major) * 1.0
        other_class = (labels[others] == minor) + 1.0 * (numbers[others] == partner)
        value = -share * np.average(logs, weights=own_class) if own_class.any() else 0.0
        found.append(value - (1 - share) * np.average(logs, weights=other_class))
    return np.array(found)


def test_contrast_in_the_batch_and_in_the_memory():
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(2, 5, 4)))
    major = np.tile(rng.integers(3, size=5), (2, 1))
    partners = np.stack([rng.permutation(5), rng.permutation(5)])
    pairs = Pairs(major, np.take_along_axis(major, partners, 1), rng.uniform(0.5, 1, (2, 5)), partners)
    stored, classes = unit(rng.normal(size=(16, 4))), np.array([0, 1, 2, 0] + [-1] * 12)
    memory = Queue(jnp.asarray(stored), jnp.asarray(classes), jnp.int32(12))
    found = jax.jit(interpolated_contrast, static_argnums=(3, 4))(
        jnp.asarray(rows), jax.tree.map(jnp.asarray, pairs), memory, 0.1, None
    )
    flat, parts, order = rows.reshape(10, 4), [part.ravel() for part in pairs], np.arange(10)
    near = losses_among(flat, parts, flat, major.ravel(), order % 5, order, 0.1)
    np.testing.assert_allclose(found[0], near, rtol=1e-4)
    places, numbers = (12 + order) % 16, np.full(16, -1)
    stored[places], classes[places], numbers[places] = flat, major.ravel(), order % 5
    np.testing.assert_allclose(found[2].keys, stored, rtol=1e-6)
    np.testing.assert_array_equal(found[2].info, classes)
    assert found[2].place == 6
    np.testing.assert_allclose(
        found[1], losses_among(flat, parts, stored, classes, numbers, places, 0.1), rtol=1e-4
    )


def heads(state):
    """Classifier and projection, float64."""
    params = state.network.params
    layers = params["head"], params["projection"]["Dense_0"]
    return [np.float64(layer[name]) for layer in layers for name in ("kernel", "bias")]


@pytest.mark.parametrize(("corrects", "remembers"), [(False, True), (True, False)])
def test_step_of_moit(corrects, remembers, monkeypatch):
    rng = np.random.default_rng(1)
    partners, calls = fixed_mixes(monkeypatch, rng)
    train = helpers.training_set()
    train = train._replace(inputs=train.inputs / 4)
    made, state = helpers.make(settings(temperature=0.4), train)
    selected = (rng.random(12) < 0.5).astype(np.float32)
    state = state._replace(selected=jnp.asarray(selected))
    batch = helpers.batch_of_part(train, "all", ROWS, corrects=corrects, remembers=remembers)
    after, metrics = made.train_step(state, batch, axis_name=None)
    assert calls == [(1, 8, 1.0, None)] * 2

    inputs, targets = np.float64(train.inputs[ROWS]), train.targets[ROWS]
    labels, weights = targets.argmax(axis=1), heads(state)
    guess = softmax(helpers.logits(weights[:2], inputs))
    kept = (selected[ROWS] if corrects else np.ones(8))[:, None]
    major = np.concatenate([labels, labels])
    classes = np.concatenate([major, [-1, -1]])
    numbers, order_of_all = np.append(np.arange(16) % 8, [-1, -1]), np.arange(16)
    detached = None

    def loss(weights):
        nonlocal detached
        fit, rows, minor, share = 0.0, [], [], []
        for mix, order in zip(SHARES, partners, strict=True):
            view = mix * inputs + (1 - mix) * inputs[order]
            given = mix * targets + (1 - mix) * targets[order]
            other = (1 - kept) * guess
            goals = kept * given + mix * other + (1 - mix) * other[order]
            fit += cross_entropy(helpers.logits(weights[:2], view), goals).mean() / 2
            rows.append(unit(view @ weights[2] + weights[3]))
            minor.append(labels[order])
            share.append(np.full(8, mix))
        rows, *parts = map(np.concatenate, (rows, minor, share, partners))
        pairs = major, *parts
        if detached is None:
            detached = np.concatenate([rows, np.zeros((2, 3))])
        value = fit + losses_among(rows, pairs, rows, major, numbers[:16], order_of_all, 0.4).mean()
        if remembers:
            value += losses_among(rows, pairs, detached, classes, numbers, order_of_all, 0.4).mean()
        return value

    np.testing.assert_allclose(metrics["loss"], loss(weights), rtol=1e-5)
    slopes = helpers.by_differences(loss, weights)
    for ours, value, slope in zip(heads(after), weights, slopes, strict=True):
        np.testing.assert_allclose(ours, value - helpers.LR * slope, atol=3e-4)
    np.testing.assert_allclose(after.memory.keys, detached, atol=1e-5)
    np.testing.assert_array_equal(after.memory.info, classes)


@pytest.mark.parametrize("bootstraps", [0, 1])
def test_step_of_the_fine_tuning(bootstraps, monkeypatch):
    partners, _ = fixed_mixes(monkeypatch, np.random.default_rng(2))
    train = helpers.training_set()
    made, state = helpers.make(settings(bootstrap_share=0.3), train)
    batch = helpers.batch_of_part(train, "selected", ROWS, bootstraps=bootstraps)
    after, metrics = made.train_step(state, batch, axis_name=None)
    inputs, targets = np.float64(train.inputs[ROWS]), train.targets[ROWS]
    weights, mix, order = heads(state)[:2], SHARES[0], partners[0]
    hard = np.eye(3)[helpers.logits(weights, inputs).argmax(axis=1)]
    goals = (1 - 0.3 * bootstraps) * targets + 0.3 * bootstraps * hard
    goals, view = (mix * part + (1 - mix) * part[order] for part in (goals, inputs))
    logits = helpers.logits(weights, view)
    np.testing.assert_allclose(metrics["loss"], cross_entropy(logits, goals).mean(), rtol=1e-5)
    grads = helpers.gradient(view, (softmax(logits) - goals) / 8)
    helpers.assert_head(after.network.params, helpers.descended(weights, grads), atol=1e-4)
    helpers.assert_same(after.network.params["projection"], state.network.params["projection"])


def test_epochs_select_rows_then_make_a_new_classifier_and_keep_to_them():
    train = helpers.training_set(rows=40)
    shares = {"memory_start": 0.1, "correct_start": 0.2, "tune_start": 0.4, "bootstrap_start": 0.5}
    made, state = helpers.make(settings(momentum=0.9, **shares), train)
    plan, states, found = made.make_planner(train, jax.local_devices()[:1]), [], []
    for epoch in range(7):
        state, planned = plan(state, epoch, jax.random.key(epoch))
        states.append(state)
        found.append(planned)
    assert [list(one.indices) for one in found] == [["all"]] * 4 + [["selected"]] * 3
    assert [float(one.info["remembers"][0]) for one in found[:4]] == [0, 1, 1, 1]
    assert [float(one.info["corrects"][0]) for one in found[:4]] == [0, 0, 1, 1]
    assert [float(one.info["bootstraps"][0]) for one in found[4:]] == [0, 1, 1]
    np.testing.assert_array_equal(states[1].selected, np.ones(40))
    chosen = np.flatnonzero(states[4].selected)
    assert 3 <= len(chosen) < 40
    for one in found[4:]:
        assert set(np.ravel(one.indices["selected"])) <= set(chosen)
    old, new = (helpers.head(one.network.params) for one in (states[3], states[4]))
    assert (old[0] != new[0]).all()
    helpers.assert_same(states[3].network.params["projection"], states[4].network.params["projection"])
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(states[4].network.opt_state))
    helpers.assert_same(states[4].network, states[6].network)


def test_strong_views_are_crops_of_an_eighth_of_the_area_and_more(monkeypatch):
    seen = []
    make = augment.make
    monkeypatch.setattr(augment, "make", lambda name, **named: seen.append((name, named)) or make("none"))
    helpers.make(settings(strong_augment="simclr"), helpers.training_set())
    assert seen == [
        ("none", {"crop_size": 0}),
        ("simclr", {"crop_size": 0, "crop_min_area": 0.08}),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune_start": 1.2}, r"recipes\.moit_plus\.tune_start is 1\.2; it must lie in \[0, 1\]"),
        ({"temperature": 0.0}, r"recipes\.moit_plus\.temperature is 0\.0; it must be above 0"),
        ({"memory_per_class": 2}, r"memory_per_class is 2.*holds 12.*a batch has 16; set at least 3"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        helpers.make(settings(**changes), helpers.training_set())
