"""Steps of MLNT against NumPy in float64, with gradients through the look-ahead by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dmlp_jax.coupled import mlnt
from dmlp_jax.errors import UserError
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import LR, log_softmax, softmax
from tests.retrain.methods.dividemix_helpers import batch_of

ROWS = [4, 0, 9, 2, 7, 11]
ALPHA, WEIGHT, SETS = 0.8, 0.7, 2
# Of ten epochs, five are the first network's; the teacher starts one later, its weight rises for two.
OWN = {
    "guide_share": 0.5, "lookahead_start": 0.2, "lookahead_ramp": 0.6, "ema_first": 0.6, "ema": 0.9,
    "lookahead_lr": ALPHA, "consistency_weight": WEIGHT, "label_sets": SETS, "neighbours": 3, "batch_size": 6,
}  # fmt: skip


def started(**changes):
    train = retrain_helpers.training_set()._replace(inputs=retrain_helpers.training_set().inputs / 4)
    config = retrain_helpers.settings("mlnt", **(OWN | changes))
    return train, *retrain_helpers.make(config, train)


def step(made, state, train, part, epoch):
    whole = batch_of(train, {part: ROWS}, jax.random.key(0), ())._replace(epoch=jnp.float32(epoch))
    return made.train_step(state, whole, axis_name=None)


def apart(weights, inputs, target):
    """Mean over rows of KL(target || prediction)."""
    log_probs = log_softmax(retrain_helpers.logits(weights, inputs))
    return np.mean(np.sum(target * (np.log(target) - log_probs), axis=1))


def ramp(epoch):
    """Six epochs begin the rise, eight end it."""
    return 0.0 if epoch < 6 else np.exp(-5 * (1 - min((epoch - 6) / 2, 1)) ** 2)


def test_first_network_is_trained_by_cross_entropy_alone():
    train, made, state = started()
    weights = retrain_helpers.head(state.guide.params)
    expected = retrain_helpers.descended(
        weights, helpers.loss_gradient(weights, np.float64(train.inputs[ROWS]), train.targets[ROWS])
    )
    after, metrics = step(made, state, train, "guide", 0.0)
    retrain_helpers.assert_head(after.guide.params, expected)
    retrain_helpers.assert_same(after.teacher.params, after.guide.params)
    retrain_helpers.assert_same(after.network, state.network)
    assert after.steps == 0
    assert set(metrics) == {"loss", "train_accuracy"}
    found = made.predict(after, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, softmax(retrain_helpers.logits(expected, train.inputs)), atol=1e-5)


@pytest.mark.parametrize("second_order", [True, False])
def test_steps_of_mlnt(monkeypatch, second_order):
    train, _, _ = started()
    rng = np.random.default_rng(1)
    labels = np.eye(3)[rng.integers(3, size=(SETS, 6))]
    monkeypatch.setattr(mlnt, "label_sets", lambda *_: jnp.float32(labels))
    train, made, state = started(second_order=second_order)
    inputs, given = np.float64(train.inputs[ROWS]), np.float64(train.targets[ROWS])
    weights = retrain_helpers.head(state.network.params)
    teacher, steps = weights, 0
    for epoch in (5.5, 6.0, 7.0, 8.5):
        keep = 0.0 if steps == 0 else 0.6 if epoch < 8 else 0.9
        teacher = tuple(keep * old + (1 - keep) * new for old, new in zip(teacher, weights, strict=True))
        target = softmax(retrain_helpers.logits(teacher, inputs))

        def moved(weights, goals):
            return retrain_helpers.descended(weights, helpers.loss_gradient(weights, inputs, goals), ALPHA)

        terms = [
            helpers.differences(lambda w: apart(moved(w, goals), inputs, target), weights)  # noqa: B023
            if second_order
            else helpers.differences(lambda w: apart(w, inputs, target), moved(weights, goals))  # noqa: B023
            for goals in labels
        ]
        grads = helpers.loss_gradient(weights, inputs, given)
        factor = WEIGHT * ramp(epoch) / SETS
        total = tuple(grad + factor * sum(term[part] for term in terms) for part, grad in enumerate(grads))
        expected = np.mean([apart(moved(weights, goals), inputs, target) for goals in labels])
        loss = helpers.loss(weights, inputs, given)
        weights = retrain_helpers.descended(weights, total, LR)
        steps += epoch >= 6

        state, metrics = step(made, state, train, "train", epoch)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["disagreement"], expected, rtol=1e-3, atol=1e-6)
        retrain_helpers.assert_head(state.network.params, weights, atol=1e-4)
        retrain_helpers.assert_head(state.teacher.params, teacher, atol=1e-4)
        assert state.steps == steps
    found = made.predict(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, softmax(retrain_helpers.logits(teacher, train.inputs)), atol=1e-3)


def test_labels_are_exchanged_among_the_nearest_rows_of_the_batch():
    # Two heaps: the rows of one have labels that the other's lack.
    features = jnp.float32([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]])
    targets = np.eye(6, dtype=np.float32)
    found = np.asarray(
        mlnt.label_sets(jax.random.key(0), features, jnp.asarray(targets), 400, 2, 0.5, None)
    ).argmax(axis=-1)
    changed = found != np.arange(6)
    # Half of the rows of each set have a label of another row, any row as often as others.
    np.testing.assert_array_equal(changed.sum(axis=1), 3)
    np.testing.assert_allclose(changed.mean(axis=0), 0.5, atol=0.1)
    np.testing.assert_array_equal(found // 3, np.arange(6) // 3 + np.zeros_like(found))
    for row in range(6):
        taken, often = np.unique(found[changed[:, row], row], return_counts=True)
        assert len(taken) == 2
        np.testing.assert_allclose(often / often.sum(), 0.5, atol=0.15)


def test_each_network_has_the_learning_rates_of_its_own_epochs():
    common = {"lr": 0.2, "epochs": 240, "guide_share": 0.5, "schedule": "steps", "lr_drop": 0.1}
    guide, network = mlnt.by_phase(ConfigDict(common | {"lr_drops": (80 / 240, 200 / 240)}))
    np.testing.assert_allclose([guide(e) for e in (0.0, 79.9, 80.0, 119.9)], [0.2, 0.2, 0.02, 0.02])
    np.testing.assert_allclose([network(e) for e in (120.0, 199.9, 200.0, 239.0)], [0.2, 0.2, 0.02, 0.02])
    # Clothing1M: the drop is the first network's.
    guide, network = mlnt.by_phase(
        ConfigDict(common | {"epochs": 4, "guide_share": 0.75, "lr_drops": (0.5,)})
    )
    np.testing.assert_allclose([guide(e) for e in (1.9, 2.0)], [0.2, 0.02])
    np.testing.assert_allclose([network(e) for e in (3.0, 3.9)], [0.2, 0.2])


def test_epochs_are_planned_for_one_network_after_the_other():
    train, made, state = started()
    plan = made.make_planner(train, jax.local_devices()[:1])
    for epoch in range(10):
        (part,) = plan(state, epoch, jax.random.key(epoch))[1].indices
        assert part == ("guide" if epoch < 5 else "train")
    for share, epochs in ((0.0, 1), (1.0, 9)):
        assert mlnt.guide_epochs(ConfigDict({"guide_share": share, "epochs": 10})) == epochs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1}, r"retrain\.epochs is 1; mlnt trains two networks"),
        ({"neighbours": 6}, r"neighbours is 6 and retrain\.batch_size 6"),
        ({"lookahead_start": 0.7}, r"lookahead_start is 0\.7 and recipes\.mlnt\.lookahead_ramp 0\.6"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        started(**changes)
