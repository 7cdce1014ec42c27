"""One step of each semi-supervised method against NumPy in float64, and what a step may see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.data import augment
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing, semi_supervised
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, gradient, log_softmax, logits, softmax, through_softmax
from tests.retrain.methods import semi_helpers
from tests.retrain.methods.semi_helpers import METHODS, RATIOS, strong, weak


def flat(images):
    return np.float64(images).reshape(len(images), -1)


def sure_of_some(probs, confidence):
    sure = probs.max(axis=1) >= confidence
    assert 0 < sure.sum() < len(sure)
    return sure


def fixmatch_reference(weights, average, x, y, others, config, rise):
    del average, rise
    zx, zw, zs = (logits(weights, view) for view in (weak(x), weak(others), strong(others)))
    sure = sure_of_some(softmax(zw), config.confidence)
    targets = np.eye(y.shape[1])[zw.argmax(axis=1)]
    loss = cross_entropy(zx, y).mean() + config.unlabelled_weight * (sure * cross_entropy(zs, targets)).mean()
    slopes = config.unlabelled_weight * sure[:, None] * (softmax(zs) - targets) / len(others)
    return loss, [(weak(x), (softmax(zx) - y) / len(x)), (strong(others), slopes)]


def uda_reference(weights, average, x, y, others, config, rise):
    del average, rise
    zx, zw, zs = (logits(weights, view) for view in (weak(x), weak(others), strong(others)))
    sure = sure_of_some(softmax(zw), config.confidence)
    powers = softmax(zw) ** (1 / config.sharpen)
    targets = powers / powers.sum(axis=1, keepdims=True)
    apart = (targets * (np.log(targets) - log_softmax(zs))).sum(axis=1)
    loss = cross_entropy(zx, y).mean() + config.unlabelled_weight * (sure * apart).mean()
    slopes = config.unlabelled_weight * sure[:, None] * (softmax(zs) - targets) / len(others)
    return loss, [(weak(x), (softmax(zx) - y) / len(x)), (strong(others), slopes)]


def mean_teacher_reference(weights, average, x, y, others, config, rise):
    zx, zs = logits(weights, weak(x)), logits(weights, weak(others))
    probs, teacher = softmax(zs), softmax(logits(average, weak(others)))
    weight = config.unlabelled_weight * rise
    loss = cross_entropy(zx, y).mean() + weight * ((probs - teacher) ** 2).mean()
    slopes = through_softmax(probs, weight * 2 * (probs - teacher) / probs.size)
    return loss, [(weak(x), (softmax(zx) - y) / len(x)), (weak(others), slopes)]


def mixmatch_reference(mix, weights, average, x, y, others, config, rise):
    del average
    guess = softmax(logits(weights, weak(others))) ** (1 / config.sharpen)
    guess /= guess.sum(axis=1, keepdims=True)
    rows, goals = np.concatenate([weak(x), weak(others), weak(others)]), np.concatenate([y, guess, guess])
    share, partners = np.float64(mix.share).reshape(-1, 1), mix.partners.reshape(-1)
    rows, goals = (share * part + (1 - share) * part[partners] for part in (rows, goals))
    z, size, weight = logits(weights, rows), len(x), config.unlabelled_weight * rise
    probs = softmax(z)
    errors = (probs - goals)[size:]
    loss = cross_entropy(z, goals)[:size].mean() + weight * (errors**2).mean()
    slopes = through_softmax(probs[size:], weight * 2 * errors / errors.size)
    return loss, [(rows[:size], (probs - goals)[:size] / size), (rows[size:], slopes)]


REFERENCES = {
    "fixmatch": fixmatch_reference, "uda": uda_reference, "mean_teacher": mean_teacher_reference,
    "mixmatch": mixmatch_reference,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes", "epoch"), [*((name, 3, 2.5) for name in METHODS), ("mean_teacher", 2, 8.0)]
)
def test_step_is_that_of_the_paper(name, classes, epoch, monkeypatch):
    rng = np.random.default_rng(3)
    semi_helpers.linear_on_images(monkeypatch)
    semi_helpers.views_by_formula(monkeypatch)
    reference, calls = REFERENCES[name], []
    if name == "mixmatch":
        mix = mixing.Mix(np.float32(rng.uniform(0.5, 1, (3, 4))), rng.permutation(12).reshape(3, 4))

        def draw(*arguments, **named):
            calls.append((arguments[1:], named))
            return mix

        monkeypatch.setattr(mixing, "draw", draw)
        reference = lambda *arguments: mixmatch_reference(mix, *arguments)  # noqa: E731
    ramp = {"unlabelled_ramp": 0.5} if name in ("mean_teacher", "mixmatch") else {}
    config = semi_helpers.settings(name, ema=0.9, unlabelled_weight=0.7, **ramp)
    train = semi_helpers.images_set(classes)
    made, state = helpers.make(config, train)
    state = semi_helpers.with_heads(state, rng)
    batch, labelled, order = semi_helpers.batch(train, RATIOS[name], epoch=epoch)
    after, metrics = made.train_step(state, batch, axis_name=None)

    weights, average = (helpers.head(part.params) for part in (state.network, state.average))
    x, y, others = flat(train.inputs[labelled]), train.targets[labelled], flat(train.inputs[order])
    loss, parts = reference(weights, average, x, y, others, config, min(epoch / 10 / 0.5, 1))
    grads = [sum(pair) for pair in zip(*(gradient(*part) for part in parts), strict=True)]
    expected = helpers.descended(weights, grads)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
    helpers.assert_head(after.network.params, expected)
    helpers.assert_head(
        after.average.params, [0.9 * a + 0.1 * b for a, b in zip(average, expected, strict=True)]
    )
    if name == "mixmatch":
        assert calls == [((3, 4, config.mixup, None), {"per_row": True})]


@pytest.mark.parametrize("name", METHODS)
def test_average_predicts_and_starts_as_the_network(name, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch)
    train = semi_helpers.images_set()
    made, state = helpers.make(semi_helpers.settings(name, strong_augment="none"), train)
    helpers.assert_same(state.network.params, state.average.params)
    state = semi_helpers.with_heads(state, np.random.default_rng(0))
    expected = softmax(logits(helpers.head(state.average.params), flat(train.inputs)))
    np.testing.assert_allclose(made.predict(state, jnp.asarray(train.inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_batch_statistics_are_those_of_the_students_views_and_averaged_like_the_weights(name, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch, norm=True)
    semi_helpers.views_by_formula(monkeypatch)
    mix = mixing.Mix(np.float32(0.75), np.random.default_rng(0).permutation(12).reshape(3, 4))
    monkeypatch.setattr(mixing, "draw", lambda *arguments, **named: mix)
    train = semi_helpers.images_set()
    made, state = helpers.make(semi_helpers.settings(name, ema=0.6), train)
    batch, labelled, order = semi_helpers.batch(train, RATIOS[name])
    after, _ = made.train_step(state, batch, axis_name=None)
    x, others = flat(train.inputs[labelled]), flat(train.inputs[order])
    seen = {
        "mean_teacher": [weak(x), weak(others)],
        "mixmatch": [weak(x), weak(others), weak(others)],
    }.get(name, [weak(x), weak(others), strong(others)])
    seen = np.concatenate(seen)
    if name == "mixmatch":
        seen = 0.75 * seen + 0.25 * seen[mix.partners.reshape(-1)]
    (found,) = after.network.batch_stats["encoder"].values()
    np.testing.assert_allclose(found["mean"], 0.1 * seen.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["var"], 0.9 + 0.1 * seen.var(axis=0), rtol=1e-4)
    (average,) = after.average.batch_stats["encoder"].values()
    np.testing.assert_allclose(average["mean"], 0.4 * found["mean"], rtol=1e-5)
    np.testing.assert_allclose(average["var"], 0.6 + 0.4 * found["var"], rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_every_view_has_a_key_of_its_own(name, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch)
    seen = []

    def policy(keys, images):
        assert len(keys) == len(images)
        jax.debug.callback(lambda data: seen.append(np.asarray(data)), jax.random.key_data(keys))
        return images

    monkeypatch.setattr(augment, "make", lambda name, **_: policy)
    train = semi_helpers.images_set()
    made, state = helpers.make(semi_helpers.settings(name), train)
    batch, _, _ = semi_helpers.batch(train, RATIOS[name])
    made.train_step(state, batch, axis_name=None)
    jax.effects_barrier()
    keys = np.concatenate(seen)
    assert len(keys) == 4 * (1 + 2 * RATIOS[name])
    assert len(np.unique(keys, axis=0)) == len(keys)


@pytest.mark.parametrize("name", METHODS)
def test_labels_of_other_rows_do_not_reach_the_step(name, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch)
    train = semi_helpers.images_set()
    wrong = train._replace(targets=np.concatenate([train.targets[:14, ::-1] * np.nan, train.targets[14:]]))
    made, state = helpers.make(semi_helpers.settings(name, strong_augment="none"), train)
    first, second = (
        made.train_step(state, semi_helpers.batch(one, RATIOS[name])[0], axis_name=None)
        for one in (train, wrong)
    )
    helpers.assert_same(first, second)


@pytest.mark.parametrize("name", METHODS)
def test_plan_deals_out_clean_rows_and_others(name, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch)
    ratio, train = RATIOS[name], semi_helpers.images_set(others=31)
    made, state = helpers.make(semi_helpers.settings(name, strong_augment="none"), train)
    planner = made.make_planner(train, jax.local_devices()[:1])
    steps = 31 // (4 * ratio)
    plans = [planner(state, epoch, jax.random.key(epoch))[1] for epoch in range(5)]
    for plan in plans:
        assert plan.steps == steps
        clean = plan.indices["labelled"]
        assert clean.shape == (steps, 4)
        assert set(plan.indices) == {"labelled", *(f"unlabelled{part}" for part in range(ratio))}
        others = np.concatenate([plan.indices[f"unlabelled{part}"] for part in range(ratio)], axis=None)
        assert len(np.unique(others)) == len(others) == steps * ratio * 4
        assert others.max() < 31
        counts = np.bincount(clean.ravel(), minlength=36)
        assert counts[:31].sum() == 0
        assert np.ptp(counts[31:]) <= 1
    helpers.assert_same(plans[0], planner(state, 3, jax.random.key(0))[1])
    assert (plans[0].indices["unlabelled0"] != plans[1].indices["unlabelled0"]).any()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("fixmatch", {"unlabelled_ratio": 0}, "unlabelled_ratio is 0"),
        ("mixmatch", {"unlabelled_ratio": 2}, "must be 1"),
        ("mixmatch", {"mixup": 0.0}, "mixup must be above 0"),
        ("uda", {"sharpen": 0.0}, "sharpen is 0"),
        ("fixmatch", {"confidence": 1.5}, "confidence is 1.5"),
        ("mean_teacher", {"ema": 1.0}, "ema is 1.0"),
        ("fixmatch", {"strong_augment": "stronger"}, "augment is 'stronger'"),
        ("uda", {"batch_size": 8}, r"takes 16 rows.*there are 14.*at most 7"),
    ],
)
def test_impossible_settings_are_refused(name, changes, words):
    config = semi_helpers.settings(name, **{"strong_augment": "none", **changes})
    with pytest.raises(UserError, match=words):
        helpers.make(config, semi_helpers.images_set())


@pytest.mark.parametrize("train", [helpers.training_set(), semi_helpers.images_set()._replace(num_clean=0)])
def test_features_and_sets_without_clean_rows_are_refused(train):
    with pytest.raises(UserError, match="images, some of them with clean labels"):
        helpers.make(semi_helpers.settings("fixmatch", strong_augment="none"), train)


@pytest.mark.parametrize("done", [0.0, 0.1, 0.25, 0.4, 0.9])
def test_ramp_rises_in_a_line(done):
    np.testing.assert_allclose(semi_supervised.ramp(jnp.float32(done), 0.4), min(done / 0.4, 1.0), rtol=1e-6)
    assert semi_supervised.ramp(jnp.float32(done), 0.0) == (done > 0)
