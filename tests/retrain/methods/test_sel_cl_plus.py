import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, softmax
from tests.retrain.methods.test_selected_pairs import reference, unit

ROWS, PICKED = np.array([4, 0, 9, 2]), np.array([1, 7, 9, 1])
SHARES = (0.7, 0.9, 0.6, 0.8)


def settings(**changes):
    own = {"projection_width": 3, "batch_size": 4, "neighbours": 4, "memory_per_class": 3, "queue": 6}
    return helpers.settings("sel_cl_plus", **(own | changes))


def fixed_mixes(monkeypatch, rng):
    """Replaces the random mixes; returns their partners in the order of the calls."""
    partners, calls = [rng.permutation(4) for _ in SHARES], []

    def draw(*arguments):
        calls.append(arguments[1:])
        number = len(calls) - 1
        return mixing.Mix(jnp.float32(SHARES[number]), jnp.asarray(partners[number][None]))

    monkeypatch.setattr(mixing, "draw", draw)
    return partners, calls


def batch_of(train, remembers, supervises):
    batch = helpers.batch_of_part(train, "all", ROWS, remembers=remembers)
    if not supervises:
        return batch
    picked = helpers.batch(train, PICKED)
    return batch._replace(
        data=batch.data | {"selected": picked.data}, rows=batch.rows | {"selected": picked.rows}
    )


def layers(params):
    """Classifier and projection, float64."""
    return [
        np.float64(layer[name])
        for layer in (params["head"], params["projection"]["Dense_0"])
        for name in ("kernel", "bias")
    ]


def passed(weights, inputs):
    kernel, bias, project, project_bias = weights
    return inputs @ kernel + bias, unit(inputs @ project + project_bias)


def info_nce(rows, keys, queue, temperature):
    logits = np.concatenate([(rows * keys).sum(axis=1, keepdims=True), rows @ queue.T], axis=1) / temperature
    return np.log(np.exp(logits).sum(axis=1)) - logits[:, 0]


@pytest.mark.parametrize("clip", [0.25, 1e-3])
@pytest.mark.parametrize("remembers", [False, True])
def test_step(remembers, clip, monkeypatch):
    rng = np.random.default_rng(2)
    partners, calls = fixed_mixes(monkeypatch, rng)
    train = helpers.training_set()
    train = train._replace(inputs=train.inputs / 4)
    config = settings(temperature=0.4, ema=0.8, similarity_weight=0.3, similarity_clip=clip)
    made, state = helpers.make(config, train)
    features = unit(rng.normal(size=(12, 3))).astype(np.float32)
    selected = (rng.random(12) < 0.5).astype(np.float32)
    state = state._replace(
        average=jax.tree.map(lambda leaf: 0.9 * leaf + 0.05, state.average),
        features=jnp.asarray(features),
        selected=jnp.asarray(selected),
        bound=jnp.float32(0.3),
    )
    after, metrics = made.train_step(state, batch_of(train, remembers, True), axis_name=None)
    assert calls == [(1, 4, 1.0, None)] * 4

    inputs, targets, labels = np.float64(train.inputs), train.targets, train.targets.argmax(axis=1)
    same = labels[ROWS][:, None] == labels[ROWS]
    both = (selected[ROWS][:, None] * selected[ROWS]) > 0
    chosen = same & (both | (features[ROWS] @ features[ROWS].T >= 0.3))
    mixed = [SHARES[i] * inputs[ROWS] + (1 - SHARES[i]) * inputs[ROWS][partners[i]] for i in (0, 1)]
    fixed = layers(state.average)
    keys_apart, queue = passed(fixed, inputs[ROWS])[1], np.float64(state.queue.keys)
    stored = [passed(fixed, view) for view in mixed]
    common = {
        "own": np.tile(np.arange(4), 2),
        "partner": np.concatenate(partners[:2]),
        "share": np.repeat(SHARES[:2], 4),
        "places": np.arange(8),
    }
    latest = {"chosen": np.tile(chosen, 2), "numbers": np.tile(np.arange(4), 2), "known": np.ones(8, bool)}
    memory = {
        "keys": np.concatenate([*(rows for _, rows in stored), np.zeros((10, 3))]),
        "key_probs": np.concatenate([*(softmax(logits) for logits, _ in stored), np.zeros((10, 3))]),
        "chosen": np.concatenate([np.tile(chosen, 2), np.zeros((4, 10), bool)], axis=1),
        "numbers": np.concatenate([np.tile(np.arange(4), 2), np.full(10, -1)]),
        "known": np.arange(18) < 8,
    }

    def objectives(weights):
        apart = info_nce(passed(weights, inputs[ROWS])[1], keys_apart, queue, 0.4)
        outputs = [passed(weights, view) for view in mixed]
        anchors = np.concatenate([rows for _, rows in outputs])
        probs = np.concatenate([softmax(logits) for logits, _ in outputs])
        own = common | {"anchors": anchors, "probs": probs}
        near = reference(own | latest | {"keys": anchors, "key_probs": probs}, 0.4)
        far = reference(own | memory, 0.4)
        fit = 0.0
        for share, order in zip(SHARES[2:], partners[2:], strict=True):
            view, goals = (
                share * part[PICKED] + (1 - share) * part[PICKED][order] for part in (inputs, targets)
            )
            fit += cross_entropy(passed(weights, view)[0], goals).mean() / 2
        alone = near[2] + far[2] < 2 if remembers else near[2] < 1
        close = near[0].mean() + remembers * far[0].mean()
        return (alone * apart).mean() + close + fit, 0.3 * (near[1] + remembers * far[1])

    weights = layers(state.network.params)
    loss, alike = objectives(weights)
    np.testing.assert_allclose(metrics["loss"], loss + alike, rtol=1e-5)
    slopes = helpers.by_differences(lambda weights: objectives(weights)[0], weights)
    more = helpers.by_differences(lambda weights: objectives(weights)[1], weights)
    norm = np.sqrt(sum((slope**2).sum() for slope in more))
    assert (norm > clip) == (clip < 0.01)
    factor = min(1, clip / norm)
    for ours, value, slope, other in zip(layers(after.network.params), weights, slopes, more, strict=True):
        np.testing.assert_allclose(ours, value - helpers.LR * (slope + factor * other), atol=3e-4)
    kept = zip(layers(after.average), fixed, layers(after.network.params), strict=True)
    for ours, old, new in kept:
        np.testing.assert_allclose(ours, 0.8 * old + 0.2 * new, atol=1e-5)
    np.testing.assert_allclose(after.memory.keys, memory["keys"], atol=1e-5)
    np.testing.assert_allclose(after.memory.info["probs"], memory["key_probs"], atol=1e-5)
    np.testing.assert_array_equal(after.memory.info["rows"], np.append(np.tile(ROWS, 2), np.full(10, -1)))
    np.testing.assert_allclose(after.queue.keys[:4], keys_apart, atol=1e-5)


def test_first_epoch_has_mocos_loss_only():
    train = helpers.training_set()
    made, state = helpers.make(settings(temperature=0.4), train)
    after, metrics = made.train_step(state, batch_of(train, 0, False), axis_name=None)
    rows = passed(layers(state.network.params), np.float64(train.inputs[ROWS]))[1]
    expected = info_nce(rows, rows, np.float64(state.queue.keys), 0.4).mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    helpers.assert_same(after.network.params["head"], state.network.params["head"])
    assert after.memory.place == 8


def test_epochs_select_rows_and_pairs_then_make_a_new_classifier_and_keep_to_them():
    train = helpers.training_set(rows=40)
    shares = {"memory_start": 0.3, "supervise_start": 0.1, "tune_start": 0.4, "bootstrap_start": 0.5}
    made, state = helpers.make(settings(**shares), train)
    plan, states, found = made.make_planner(train, jax.local_devices()[:1]), [], []
    for epoch in range(6):
        state, planned = plan(state, epoch, jax.random.key(epoch))
        states.append(state)
        found.append(planned)
    kinds = [["all"], *[["all", "selected"]] * 3, *[["selected"]] * 2]
    assert [list(one.indices) for one in found] == kinds
    assert [float(one.info["remembers"][0]) for one in found[:4]] == [0, 0, 0, 1]
    assert [float(one.info["bootstraps"][0]) for one in found[4:]] == [0, 1]
    rows = passed(layers(states[0].network.params), np.float64(train.inputs))[1]
    np.testing.assert_allclose(states[1].features, rows, atol=1e-5)
    chosen = states[1].selected > 0
    assert 3 <= chosen.sum() < 40
    labels = train.targets.argmax(axis=1)
    near = [rows[chosen & (labels == label)] for label in range(3)]
    near = np.concatenate([(few @ few.T).ravel() for few in near])
    np.testing.assert_allclose(states[1].bound, np.quantile(near, 0.25), atol=1e-5)
    for one in found[1:]:
        assert set(np.ravel(one.indices["selected"])) <= set(np.flatnonzero(chosen))
    old, new = (helpers.head(one.network.params) for one in (states[3], states[4]))
    assert (old[0] != new[0]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair_quantile": 1.2}, r"recipes\.sel_cl_plus\.pair_quantile is 1\.2; it must lie in \[0, 1\]"),
        ({"queue": 0}, r"recipes\.sel_cl_plus\.queue is 0; it must be above 0"),
        ({"memory_per_class": 1}, r"memory_per_class is 1.*holds 6.*a batch has 8; set at least 2"),
        ({"queue": 3}, r"recipes\.sel_cl_plus\.queue is 3, but a batch has 4 rows; set at least 4"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        helpers.make(settings(**changes), helpers.training_set())
