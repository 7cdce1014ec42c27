"""ProMix against NumPy in float64, written from the authors' code."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.retrain.methods import masks, mixing, promix
from dmlp_jax.training.dispatch import Batch
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, softmax
from tests.retrain.methods.test_selection import agreed

ROWS = np.array([4, 0, 9, 2, 7, 11, 1, 5])
DEVICES = jax.local_devices()[:1]
SETTINGS = {
    "keep": 0.5, "confidence": 0.6, "fill": 0.8, "adjust": 0.7, "debias": 0.4, "prior_decay": 0.9,
    "ramp": 0.4, "pseudo_weight": 0.3, "pseudo_ramp": 0.6, "pseudo_stops": True, "guess_start": 0.3,
    "sharpen": 0.5, "divide_warmup": 1, "batch_size": 8,
}  # fmt: skip
MASK = np.array([[1.0, 0, 0, 1, 0]])
PARTNERS = np.array([3, 1, 0, 2, 7, 5, 4, 6])


def made(train, **changes):
    """Networks and priors drawn at random."""
    method, state = helpers.make(helpers.settings("promix", **{**SETTINGS, **changes}), train)
    rng = np.random.default_rng(5)

    def drawn(leaf):
        return jnp.float32(rng.normal(size=leaf.shape) / 3)

    networks = tuple(one._replace(params=jax.tree.map(drawn, one.params)) for one in state.networks)
    classes = train.targets.shape[1]
    return method, state._replace(
        networks=networks,
        small=jnp.float32(rng.random((2, 12)) < 0.4),
        priors=jnp.float32(rng.dirichlet(np.full(classes, 5.0), size=(2, 2))),
    )


def batch(train, part, epoch):
    keys = jax.random.split(jax.random.key(0), len(ROWS) + 1)
    data = {part: {"inputs": jnp.asarray(train.inputs[ROWS]), "targets": jnp.asarray(train.targets[ROWS])}}
    return Batch(data, keys[1:], keys[0], {part: jnp.asarray(ROWS)}, jnp.float32(epoch), ())


def both(params):
    """Kernels and biases of classifier and pseudo head, float64."""
    pseudo = params["pseudo"]["Dense_0"]
    return helpers.head(params), (np.float64(pseudo["kernel"]), np.float64(pseudo["bias"]))


def narrow(noise_rate=0.5):
    train = helpers.training_set(noise_rate=noise_rate)
    return train._replace(inputs=train.inputs / 3)


def mean_ce(weights, inputs, goals, prior):
    """Mean cross-entropy of adjusted logits, and its slopes with respect to the weights."""
    if not len(inputs):
        return 0.0, [np.zeros_like(part) for part in weights]
    logits = helpers.logits(weights, inputs) + 0.7 * np.log(prior)
    return cross_entropy(logits, goals).mean(), helpers.gradient(
        inputs, (softmax(logits) - goals) / len(goals)
    )


class Flat(nn.Module):
    """An encoder whose features of an image are its pixels."""

    @nn.compact
    def __call__(self, images, train):
        return images.reshape(len(images), -1)


def expected_step(state, train, epoch, masked=False):
    """Loss, weights after the step, and priors."""
    inputs, targets = np.float64(train.inputs[ROWS]).reshape(8, -1), np.float64(train.targets[ROWS])
    rise, done = min(epoch / 4, 1), epoch / 6
    beta = 0 if done >= 1 else 0.3 * done
    heads = [both(one.params) for one in state.networks]
    probs = [softmax(helpers.logits(head, inputs)) for head, _ in heads]
    total, weights, priors = 0.0, [], []
    for which in (0, 1):
        logits = helpers.logits(heads[which][0], inputs)
        prior, other = np.float64(state.priors[which])
        chosen = np.array(state.small)[which, ROWS] == 1
        chosen |= (targets * probs[which]).sum(axis=1) > 0.6
        guess = np.eye(3)[softmax(logits - 0.4 * np.log(prior)).argmax(axis=1)]
        goals = np.where(chosen[:, None], targets, guess)
        if epoch > 3:
            chosen = chosen | agreed(chosen, *probs, 0.6, int(0.8 * 8))
        doubtful = softmax(logits - 0.4 * np.log(other)) ** 2
        doubtful /= doubtful.sum(axis=1, keepdims=True)
        mixed = 0.7 * inputs + 0.3 * inputs[PARTNERS]
        mixed_goals = 0.7 * goals + 0.3 * goals[PARTNERS]
        after = []
        for head, own in enumerate(heads[which]):
            # Weak and strong views are equal here.
            parts = [(1 + rise, mean_ce(own, inputs[chosen], goals[chosen], prior))]
            parts.append((rise, mean_ce(own, mixed[chosen], mixed_goals[chosen], prior)))
            if masked:
                by_mask = np.where(MASK[0] == 1, inputs, inputs[PARTNERS])
                goals_by_mask = 0.25 * goals + 0.75 * goals[PARTNERS]
                parts.append((rise, mean_ce(own, by_mask[chosen], goals_by_mask[chosen], prior)))
            if head:
                parts.append((beta * (1 + rise), mean_ce(own, inputs[~chosen], doubtful[~chosen], other)))
            total += sum(weight * value for weight, (value, _) in parts)
            slopes = [sum(weight * slope[i] for weight, (_, slope) in parts) for i in (0, 1)]
            after.append(helpers.descended(own, slopes))
        weights.append(after)
        news = [probs[which][mask] for mask in (chosen, ~chosen)]
        priors.append(
            [
                0.9 * old + 0.1 * new.mean(axis=0) if len(new) else old
                for old, new in zip((prior, other), news, strict=True)
            ]
        )
    return total, weights, priors


@pytest.mark.parametrize("epoch", [1.0, 3.5, 4.0, 8.9])
def test_step_on_chosen_rows(epoch, monkeypatch):
    monkeypatch.setattr(jax.random, "beta", lambda *_: jnp.float32(0.3))
    monkeypatch.setattr(mixing, "draw_partners", lambda *_: jnp.asarray(PARTNERS)[None])
    train = narrow()
    method, state = made(train)
    after, metrics = method.train_step(state, batch(train, "all", epoch), axis_name=None)
    total, weights, priors = expected_step(state, train, int(epoch))
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-4)
    np.testing.assert_allclose(after.priors, priors, rtol=1e-4, atol=1e-6)
    for one, expected in zip(after.networks, weights, strict=True):
        for found, wanted in zip(both(one.params), expected, strict=True):
            for ours, theirs in zip(found, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
    assert 0 < float(metrics["chosen"]) < 1


def test_step_on_images_mixes_them_by_masks_too(monkeypatch):
    monkeypatch.setattr(registry, "make_encoder", lambda *_, **__: Flat())
    monkeypatch.setattr(jax.random, "beta", lambda *_: jnp.float32(0.3))
    monkeypatch.setattr(mixing, "draw_partners", lambda *_: jnp.asarray(PARTNERS)[None])
    monkeypatch.setattr(
        masks, "draw", lambda key, *shape: (jnp.float32(0.25), jnp.asarray(MASK).reshape(shape))
    )
    train = narrow()
    train = train._replace(inputs=train.inputs.reshape(12, 1, 5, 1))
    method, state = made(train)
    after, metrics = method.train_step(state, batch(train, "all", 4.0), axis_name=None)
    total, weights, _ = expected_step(state, train, 4, masked=True)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-4)
    for one, expected in zip(after.networks, weights, strict=True):
        for found, wanted in zip(both(one.params), expected, strict=True):
            np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=2e-5)


def test_batch_without_unchosen_or_chosen_rows_gives_numbers(monkeypatch):
    monkeypatch.setattr(jax.random, "beta", lambda *_: jnp.float32(0.3))
    train = narrow()
    method, state = made(train, confidence=1.0)
    for small in (jnp.zeros((2, 12)), jnp.ones((2, 12))):
        after, metrics = method.train_step(
            state._replace(small=small), batch(train, "all", 2.0), axis_name=None
        )
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((after, metrics)))
        still = 0 if small.sum() == 0 else 1
        np.testing.assert_array_equal(after.priors[:, still], state.priors[:, still])
        assert np.all(np.abs(after.priors[:, 1 - still] - state.priors[:, 1 - still]).max(axis=-1) > 1e-4)


@pytest.mark.parametrize("penalty", [False, True])
def test_warm_up_is_cross_entropy_of_both_classifiers(penalty):
    train = narrow()
    method, state = made(train, confidence_penalty=penalty)
    after, metrics = method.train_step(state, batch(train, "warm", 0.0), axis_name=None)
    inputs, goals, total = train.inputs[ROWS], train.targets[ROWS], 0.0
    for old, new in zip(state.networks, after.networks, strict=True):
        weights = helpers.head(old.params)
        logits = helpers.logits(weights, inputs)
        probs, logs = softmax(logits), helpers.log_softmax(logits)
        total += cross_entropy(logits, goals).mean()
        slopes = (probs - goals) / 8
        if penalty:
            total += (probs * logs).sum(axis=1).mean()
            slopes = slopes + helpers.through_softmax(probs, (logs + 1) / 8)
        helpers.assert_head(new.params, helpers.descended(weights, helpers.gradient(inputs, slopes)))
        helpers.assert_same(new.params["pseudo"], old.params["pseudo"])
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_plan_chooses_small_losses_of_each_class_by_each_network():
    train = narrow()
    method, state = made(train, keep=0.6)
    plan = method.make_planner(train, DEVICES)
    same, warm = plan(state, 0, jax.random.key(0))
    assert set(warm.indices) == {"warm"}
    helpers.assert_same(same, state)
    after, found = plan(state, 1, jax.random.key(0))
    assert found.indices["all"].shape == (1, 8)
    classes = train.targets.argmax(axis=1)
    for which, one in enumerate(state.networks):
        costs = cross_entropy(helpers.logits(helpers.head(one.params), train.inputs), train.targets)
        expected = np.zeros(12)
        for label in range(3):
            members = np.flatnonzero(classes == label)
            expected[members[np.argsort(costs[members])][: int(np.ceil(0.6 * 12 / 3))]] = 1
        np.testing.assert_array_equal(after.small[which], expected)
    logits = [helpers.logits(helpers.head(one.params), train.inputs) for one in state.networks]
    found = method.predict(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, softmax((logits[0] + logits[1]) / 2), rtol=1e-4)


@pytest.mark.parametrize("stops", [False, True])
def test_weight_of_the_pseudo_head_s_rows(stops):
    settings = ConfigDict(
        {"epochs": 600, "pseudo_weight": 0.1, "pseudo_ramp": 100 / 600, "pseudo_stops": stops}
    )
    found = [float(promix.pseudo_weight(jnp.float32(epoch), settings)) for epoch in (0, 50, 99, 100, 400)]
    np.testing.assert_allclose(found, [0, 0.05, 0.099, *([0, 0] if stops else [0.1, 0.1])], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior_decay": 1.0}, r"recipes\.promix\.prior_decay is 1\.0"),
        ({"mixup": 0.0}, r"recipes\.promix\.mixup and recipes\.promix\.sharpen"),
        ({"confidence": 1.5}, r"recipes\.promix\.confidence is 1\.5"),
        ({"fill": -0.1}, r"recipes\.promix\.fill is -0\.1"),
        ({"keep": 0.0}, r"recipes\.promix\.keep is 0\.0"),
        ({"keep": ((0.0, 0.7), (0.3, 0.5))}, r"recipes\.promix\.keep depends on it.*retrain\.noise_rate="),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    train = narrow(noise_rate=None)
    with pytest.raises(UserError, match=message):
        made(train, **changes)
