import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing, soft_labels
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, softmax

ROWS = np.array([4, 0, 9, 2, 7, 11, 1, 5])
SHARE = 0.7


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def settings(**changes):
    return helpers.settings("rrl", embedding_width=3, batch_size=8, neighbours=4, **changes)


def weights_of(state):
    """Head, embedding and restoring layers, float64."""
    parts = [state.network.params["head"], *state.network.params["embedding"].values()]
    assert list(state.network.params["embedding"]) == ["project", "restore"]
    return [np.float64(part[name]) for part in parts for name in ("kernel", "bias")]


def passed(weights, inputs):
    """Logits, unit embeddings and errors of restored inputs, of the linear network."""
    kernel, bias, project, project_bias, restore, restore_bias = weights
    embedded = inputs @ project + project_bias
    restored = np.maximum(embedded @ restore + restore_bias, 0)
    return inputs @ kernel + bias, unit(embedded), ((restored - inputs) ** 2).mean(axis=1)


def instance_losses(rows, others, temperature):
    found = []
    for own, row in enumerate(rows):
        near = [k for k in range(len(rows)) if k != own]
        scores = np.concatenate([[others[own] @ row], rows[near] @ row, others[near] @ row]) / temperature
        found.append(np.log(np.exp(scores).sum()) - scores[0])
    return np.array(found)


def objective(weights, inputs, goals, used, prototypes, partners, strengths):
    """The whole loss, in float64; both views are the inputs themselves."""
    logits, rows, errors = passed(weights, inputs)
    views, many = np.concatenate([inputs, inputs]), np.concatenate([goals, goals])
    both = np.concatenate([used, used])
    mixed = SHARE * views + (1 - SHARE) * views[partners]
    mixed_goals = SHARE * many + (1 - SHARE) * many[partners]
    _, mixed_rows, _ = passed(weights, mixed)
    attraction = cross_entropy(mixed_rows @ prototypes.T / 0.3, mixed_goals)
    fit = (used * cross_entropy(logits, goals)).sum() / max(used.sum(), 1)
    attraction = (both * attraction).sum() / max(both.sum(), 1)
    return (
        fit
        + strengths[0] * attraction
        + strengths[1] * instance_losses(rows, rows, 0.3).mean()
        + strengths[2] * 2 * errors.mean()
    )


@pytest.mark.parametrize("corrects", [False, True])
def test_step(corrects, monkeypatch):
    rng = np.random.default_rng(3)
    train = helpers.training_set()
    train = train._replace(inputs=train.inputs / 4)
    made, state = helpers.make(settings(use_above=0.6, instance_weight=0.8, restore_weight=0.5), train)
    soft = rng.dirichlet(0.7 * np.ones(3), 12).astype(np.float32)
    prototypes = unit(rng.normal(size=(3, 3))).astype(np.float32)
    state = state._replace(soft=jnp.asarray(soft), prototypes=jnp.asarray(prototypes))
    used = (soft[ROWS].max(axis=1) > 0.6).astype(float) if corrects else np.ones(8)
    goals = np.eye(3)[soft[ROWS].argmax(axis=1)] if corrects else train.targets[ROWS]
    if corrects:
        assert 0 < used.sum() < 8
    partners = np.arange(16)
    chosen = np.flatnonzero(np.concatenate([used, used]))
    partners[chosen] = rng.permutation(chosen)
    seen, masks = [], []

    def draw(key, groups, size, concentration, axis_name, among):
        seen.append((groups, size, concentration))
        jax.debug.callback(lambda mask: masks.append(np.asarray(mask)), among)
        return mixing.Mix(jnp.float32(SHARE), jnp.asarray(partners.reshape(2, 8)))

    monkeypatch.setattr(mixing, "draw", draw)
    batch = helpers.batch_of_part(train, "all", ROWS, corrects=corrects, prototype_weight=3.0)
    after, metrics = made.train_step(state, batch, axis_name=None)
    jax.effects_barrier()
    assert seen == [(2, 8, 8.0)]
    np.testing.assert_array_equal(masks[0], np.stack([used, used]) > 0)

    weights, inputs = weights_of(state), np.float64(train.inputs[ROWS])
    arguments = (inputs, goals, used, np.float64(prototypes), partners, (3.0, 0.8, 0.5))
    np.testing.assert_allclose(metrics["loss"], objective(weights, *arguments), rtol=1e-5)
    np.testing.assert_allclose(metrics["used"], used.mean(), rtol=1e-6)
    slopes = helpers.by_differences(lambda weights: objective(weights, *arguments), weights)
    for ours, value, slope in zip(weights_of(after), weights, slopes, strict=True):
        np.testing.assert_allclose(ours, value - helpers.LR * slope, atol=2e-4)


def test_first_steps_restore_features_beside_cross_entropy():
    train = helpers.training_set()
    made, state = helpers.make(settings(restore_weight=0.5), train)
    _, metrics = made.train_step(state, helpers.batch_of_part(train, "start", ROWS), axis_name=None)
    logits, _, errors = passed(weights_of(state), np.float64(train.inputs[ROWS]))
    expected = cross_entropy(logits, train.targets[ROWS]).mean() + 0.5 * errors.mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_no_sure_row_in_a_batch_is_no_reason_for_nan():
    train = helpers.training_set()
    made, state = helpers.make(settings(), train)
    state = state._replace(soft=jnp.full((12, 3), 1 / 3))
    batch = helpers.batch_of_part(train, "all", ROWS, corrects=1, prototype_weight=3.0)
    after, metrics = made.train_step(state, batch, axis_name=None)
    assert metrics["used"] == 0
    assert metrics["fit"] == metrics["prototype"] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.network.params))


def test_labels_are_kept_above_the_bound():
    soft = np.array([[0.2, 0.8], [0.3, 0.7], [0.9, 0.1]], np.float32)
    found = soft_labels.kept(soft, np.array([0, 0, 0]), 0.2)
    np.testing.assert_array_equal(found, np.float32([[0.2, 0.8], [1, 0], [1, 0]]))


def test_prototypes_are_normalised_means_and_stay_without_rows():
    rng = np.random.default_rng(0)
    rows, labels = unit(rng.normal(size=(8, 3))), np.array([0, 0, 1, 1, 1, 0, 2, 2])
    sure, old = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool), unit(rng.normal(size=(4, 3)))
    found = soft_labels.prototypes_of(rows, labels, sure, old)
    np.testing.assert_allclose(found[:2], unit([rows[[0, 1]].mean(0), rows[[2, 4]].mean(0)]), rtol=1e-6)
    np.testing.assert_allclose(found[2:], old[2:], rtol=1e-6)


def voted(embeddings, soft, count):
    found = []
    for number, row in enumerate(embeddings):
        scores = embeddings @ row
        scores[number] = -np.inf
        near = np.argsort(-scores)[:count]
        weights = np.exp(scores[near] / 0.3)
        found.append(weights @ soft[near] / weights.sum())
    return np.array(found)


def test_soft_labels_and_prototypes_of_three_epochs():
    """Before labels are corrected, when they are for the first time, and after."""
    train = helpers.training_set(rows=30)
    bounds = {"keep_above": 0.3, "use_above": 0.5}
    made, state = helpers.make(
        settings(start_steps=2, correct_start=0.2, prototype_ramp=0.4, **bounds), train
    )
    plan = made.make_planner(train, jax.local_devices()[:1])
    logits, rows, _ = passed(weights_of(state), np.float64(train.inputs))
    probs, labels, soft = softmax(logits), train.targets.argmax(axis=1), None
    same, first = plan(state, 0, jax.random.key(0))
    helpers.assert_same(same, state)
    assert first.indices["start"].shape == (2, 8)
    for epoch in (1, 2, 3):
        state, found = plan(state, epoch, jax.random.key(epoch))
        assert len(np.unique(found.indices["all"])) == 24
        if epoch == 1:
            expected, sure = labels, np.ones(30, bool)
        else:
            soft = soft_labels.kept(probs, labels, 0.3) if soft is None else soft
            soft = soft_labels.kept((voted(rows, soft, 4) + probs) / 2, labels, 0.3)
            np.testing.assert_allclose(state.soft, soft, atol=2e-5)
            expected, sure = soft.argmax(axis=1), soft.max(axis=1) > 0.5
        means = [rows[sure & (expected == label)].mean(axis=0) for label in range(3)]
        np.testing.assert_allclose(state.prototypes, unit(means), atol=1e-4)
        np.testing.assert_array_equal(found.info["corrects"], np.full(3, float(epoch > 1)))
        np.testing.assert_allclose(found.info["prototype_weight"], 1 + (epoch - 1), rtol=1e-6)
    corrected = made.correct(state, None, None, np.arange(30))
    np.testing.assert_array_equal(corrected, state.soft)


def test_rows_of_an_epoch_are_drawn_anew_and_only_their_labels_corrected():
    train = helpers.training_set(rows=60)
    made, state = helpers.make(settings(start_steps=0, correct_start=0.0, epoch_rows=24), train)
    after, found = made.make_planner(train, jax.local_devices()[:1])(state, 5, jax.random.key(0))
    rows = np.unique(found.indices["all"])
    assert len(rows) <= 24
    assert (np.bincount(train.targets[rows].argmax(axis=1)) <= 8).all()
    others = np.setdiff1d(np.arange(60), rows)
    np.testing.assert_array_equal(np.asarray(after.soft)[others], train.targets[others])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"correct_start": 2}, r"recipes\.rrl\.correct_start is 2; it must lie in \[0, 1\]"),
        ({"temperature": 0.0}, r"recipes\.rrl\.temperature is 0\.0; it must be above 0"),
        ({"second_augment": "augmx"}, "augment is 'augmx'; it must be one of"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        helpers.make(settings(**changes), helpers.training_set())
