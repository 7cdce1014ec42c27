"""Steps of IEG against NumPy in float64: weights, choices and gradients by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.coupled import ieg
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import mixing
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import LR, log_softmax, softmax
from tests.retrain.methods import semi_helpers
from tests.retrain.methods.dividemix_helpers import batch_of
from tests.retrain.methods.semi_helpers import strong, weak

ROWS, CLEAN = [4, 0, 9, 2], [3, 0, 4, 1]
RATE, SHARE, MOMENTUM, DECAY, EMA = 0.3, 0.8, 0.9, 0.02, 0.15
UNLABELLED, CONSISTENCY = 2.0, 3.0


def started(monkeypatch, **changes):
    semi_helpers.linear_on_images(monkeypatch)
    semi_helpers.views_by_formula(monkeypatch)
    train = semi_helpers.images_set(scale=1.5)
    own = {
        "strong_augment": "strong", "lookahead_lr": RATE, "given_share": SHARE, "momentum": MOMENTUM,
        "weight_decay": DECAY, "ema": EMA, "unlabelled_weight": UNLABELLED,
        "consistency_weight": CONSISTENCY, "batch_size": 4,
    }  # fmt: skip
    config = retrain_helpers.settings("ieg", **(own | changes))
    return train, *retrain_helpers.make(config, train)


def scaled(logits):
    return logits / np.sqrt(np.mean(logits**2) + 1e-8)


def fixed_mix(monkeypatch):
    """Mixtures that the reference can repeat: shares by row, and partners in all three groups."""
    rng = np.random.default_rng(3)
    share, partners = rng.uniform(0.5, 1.0, size=(3, 4)), rng.permutation(12).reshape(3, 4)
    fixed = mixing.Mix(jnp.float32(share), jnp.asarray(partners))
    monkeypatch.setattr(mixing, "draw", lambda *_, **__: fixed)
    return lambda rows: share[..., None] * rows + (1 - share[..., None]) * rows.reshape(12, -1)[partners]


class Reference:
    """IEG on softmax regression."""

    def __init__(self, train, params, mix):
        self.weights, self.mix = retrain_helpers.head(params), mix
        self.average, self.steps = self.weights, 0
        self.trace = tuple(np.zeros_like(part) for part in self.weights)
        clean = semi_helpers.OTHERS + np.asarray(CLEAN)
        images = np.float64(train.inputs).reshape(len(train.inputs), -1)
        self.plain, self.hidden, self.clean = weak(images[ROWS]), strong(images[ROWS]), weak(images[clean])
        self.given, self.truth = np.float64(train.targets[ROWS]), np.float64(train.targets[clean])

    def moved(self, grads, rate):
        """Momentum and weights after a step; biases do not decay."""
        decayed = grads[0] + DECAY * self.weights[0], grads[1]
        trace = tuple(MOMENTUM * old + new for old, new in zip(self.trace, decayed, strict=True))
        return trace, retrain_helpers.descended(self.weights, trace, rate)

    def look_ahead(self, row_weights, shares):
        """The clean rows' loss, decay included, after a step on weighted rows."""
        goals = row_weights[:, None] * (shares[:, None] * self.given + (1 - shares[:, None]) * self.guesses)
        # `helpers` divides by the number of rows; the weights are those of a sum.
        grads = helpers.loss_gradient(self.weights, self.plain, len(goals) * goals)
        _, after = self.moved(grads, RATE)
        return helpers.loss(after, self.clean, self.truth) + DECAY / 2 * np.sum(after[0] ** 2)

    def loss(self, weights, row_weights, chosen, blended, certain):
        """All that the network's step minimises, but for the decay."""
        log_probs = log_softmax(retrain_helpers.logits(weights, self.plain))
        value = -0.5 * np.mean(np.sum(chosen * log_probs, axis=1))
        value -= 0.5 * np.sum(row_weights * np.sum(blended * log_probs, axis=1))
        hidden = log_softmax(retrain_helpers.logits(weights, self.hidden))
        value += CONSISTENCY * np.mean(np.sum(certain * (np.log(certain) - hidden), axis=1))
        inputs = self.mix(np.stack([self.clean, self.plain, self.hidden]))
        goals = self.mix(np.stack([self.truth, self.guesses, self.guesses]))
        parts = [
            -np.mean(np.sum(goal * log_softmax(scaled(retrain_helpers.logits(weights, rows))), axis=1))
            for rows, goal in zip(inputs, goals, strict=True)
        ]
        return value + parts[0] + UNLABELLED * np.mean(parts[1:])

    def step(self):
        views = [retrain_helpers.logits(self.weights, rows) for rows in (self.plain, self.hidden)]
        mean = np.mean([softmax(scaled(view)) for view in views], axis=0)
        self.guesses = mean**2 / np.sum(mean**2, axis=1, keepdims=True)
        shares, even = np.full(4, SHARE), np.full(4, 1 / 4)
        raw = np.maximum(0, -helpers.differences(lambda w: self.look_ahead(w, shares), even))
        kept = helpers.differences(lambda e: self.look_ahead(even, e), shares) < 0
        row_weights = raw / raw.sum() if raw.any() else raw
        chosen = np.where(kept[:, None], self.given, self.guesses)
        blended = SHARE * self.given + (1 - SHARE) * self.guesses
        constants = row_weights, chosen, blended, softmax(views[0])
        found = self.look_ahead(even, shares) - DECAY / 2 * np.sum(
            self.moved(helpers.loss_gradient(self.weights, self.plain, blended), RATE)[1][0] ** 2
        )
        value = self.loss(self.weights, *constants)
        grads = helpers.differences(lambda w: self.loss(w, *constants), self.weights)
        self.trace, self.weights = self.moved(grads, LR)
        self.steps += 1
        keep = min(EMA, (1 + self.steps) / (10 + self.steps))
        self.average = tuple(
            keep * old + (1 - keep) * new for old, new in zip(self.average, self.weights, strict=True)
        )
        return value, found, kept, raw


def test_steps_of_ieg(monkeypatch):
    mix = fixed_mix(monkeypatch)
    train, made, state = started(monkeypatch)
    reference = Reference(train, state.network.params, mix)
    whole = batch_of(
        train, {"train": ROWS, "meta": semi_helpers.OTHERS + np.asarray(CLEAN)}, jax.random.key(0), ()
    )
    seen = []
    for _ in range(4):
        value, found, kept, raw = reference.step()
        state, metrics = made.train_step(state, whole, axis_name=None)
        np.testing.assert_allclose(metrics["loss"], value, rtol=2e-4)
        np.testing.assert_allclose(metrics["meta_loss"], found, rtol=2e-4)
        np.testing.assert_allclose(metrics["kept"], np.mean(kept))
        retrain_helpers.assert_head(state.network.params, reference.weights, atol=5e-4)
        retrain_helpers.assert_head(state.average, reference.average, atol=5e-4)
        seen.append((np.mean(kept), np.sum(raw > 0)))
    # Both choices were taken, and rows were left out.
    assert {share for share, _ in seen} - {0.0, 1.0}
    assert any(0 < number < 4 for _, number in seen)
    assert state.steps == 4


def test_predictions_are_those_of_the_average(monkeypatch):
    train, made, state = started(monkeypatch)
    average = jax.tree.map(lambda leaf: leaf + 1.0 + jnp.arange(leaf.shape[-1]), state.average)
    found = made.predict(state._replace(average=average), jnp.asarray(train.inputs))
    images = np.float64(train.inputs).reshape(len(train.inputs), -1)
    expected = softmax(retrain_helpers.logits(retrain_helpers.head(average), images))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_logits_are_divided_by_the_root_mean_square_of_all():
    found = ieg.normalized(jnp.float32([[3.0, -4.0], [0.0, 5.0]]), None)
    np.testing.assert_allclose(found, np.array([[3, -4], [0, 5]]) / np.sqrt(50 / 4), rtol=1e-6)
    np.testing.assert_array_equal(ieg.normalized(jnp.zeros((2, 2)), None), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamw"}, r"'adamw'; ieg differentiates .* choose momentum or sgd"),
        ({"given_share": 1.0}, r"given_share 1\.0; .*in \(0, 1\)"),
        ({"ema": 1.0}, r"recipes\.ieg\.ema is 1\.0"),
        ({"with_val": False}, r"retrain\.with_val is False"),
    ],
)
def test_settings_that_cannot_be_are_refused(monkeypatch, changes, message):
    with pytest.raises(UserError, match=message):
        started(monkeypatch, **changes)
