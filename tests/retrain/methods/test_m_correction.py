import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import beta_mixture, mixing
from dmlp_jax.retrain.methods.beta_mixture import LossModel
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, softmax

ROWS = np.array([4, 0, 9, 2, 7, 11, 1, 5])
MODEL = LossModel(np.float32(0.1), np.float32(6.0), np.linspace(0.02, 0.97, 100, dtype=np.float32))
SHARE = 0.7
ORDER = np.array([3, 0, 5, 7, 1, 2, 4, 6])


def fixed_mix(monkeypatch):
    """Replaces the random mix."""
    mix = mixing.Mix(jnp.float32(SHARE), jnp.asarray(ORDER[None]))
    monkeypatch.setattr(mixing, "draw", lambda *_, **__: mix)


def wrong_probability(losses):
    place = np.floor(100 * ((losses - MODEL.low) / (MODEL.high - MODEL.low + 1e-6)).clip(0, 0.999))
    return MODEL.wrong[place.astype(int)].astype(np.float64)


def uneven_classes(logits):
    """Value and gradient of sum (1/c) log((1/c) / mean p)."""
    probs = softmax(logits)
    mean, classes = probs.mean(axis=0), logits.shape[1]
    slopes = np.broadcast_to(-1 / (classes * len(logits) * mean), logits.shape)
    return np.sum(np.log(1 / classes / mean)) / classes, helpers.through_softmax(probs, slopes)


def after_step(weights, mixed, goals, penalty):
    """Loss and weights after a step of gradient descent."""
    logits = helpers.logits(weights, mixed)
    value, slopes = uneven_classes(logits)
    loss = cross_entropy(logits, goals).mean() + penalty * value
    slopes = (softmax(logits) - goals) / len(goals) + penalty * slopes
    return loss, helpers.descended(weights, helpers.gradient(mixed, slopes))


def blend(share, rows):
    return share * rows + (1 - share) * rows[ORDER]


def test_first_epochs_mix_the_given_labels(monkeypatch):
    fixed_mix(monkeypatch)
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("m_correction"), train)
    after, metrics = made.train_step(state, helpers.batch_of_part(train, "given", ROWS), axis_name=None)
    mixed, goals = blend(SHARE, np.float64(train.inputs[ROWS])), blend(SHARE, train.targets[ROWS])
    loss, weights = after_step(helpers.head(state.network.params), mixed, goals, 0.0)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    helpers.assert_head(after.network.params, weights, atol=1e-4)


@pytest.mark.parametrize("soft_labels", [False, True])
@pytest.mark.parametrize(
    ("dynamic", "bootstraps", "temperature"),
    [(0, 1, 0.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.4)],
    ids=["hard", "soft", "guided", "dynamic"],
)
def test_step_with_correction(dynamic, bootstraps, temperature, soft_labels, monkeypatch):
    fixed_mix(monkeypatch)
    train = helpers.training_set(4)
    if soft_labels:
        targets = np.random.default_rng(2).dirichlet(np.ones(4), 12).astype(np.float32)
        train = train._replace(targets=targets)
    made, state = helpers.make(helpers.settings("m_correction", prior_weight=0.7), train)
    state = state._replace(model=jax.tree.map(jnp.asarray, MODEL))
    info = {"dynamic": dynamic, "bootstraps": bootstraps, "temperature": temperature}
    batch = helpers.batch_of_part(train, "corrected", ROWS, **info)
    after, metrics = made.train_step(state, batch, axis_name=None)

    inputs, targets = np.float64(train.inputs[ROWS]), train.targets[ROWS]
    weights = helpers.head(state.network.params)
    own = helpers.logits(weights, inputs)
    wrong = wrong_probability(cross_entropy(own, targets))
    assert wrong.std() > 0.1
    guess = softmax(own / temperature) if temperature else np.eye(4)[own.argmax(axis=1)]
    used = (wrong * bootstraps)[:, None]
    goals = (1 - used) * targets + used * guess
    trust = 1 - wrong
    share = (trust / (trust + trust[ORDER]))[:, None] if dynamic else SHARE
    goals = blend(0.5 if dynamic and bootstraps else SHARE, goals)
    loss, weights = after_step(weights, blend(share, inputs), goals, 0.7 * bootstraps)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["wrong"], wrong.mean(), rtol=1e-5)
    helpers.assert_head(after.network.params, weights, atol=1e-4)


def test_corrected_labels_are_the_given_ones_where_the_model_trusts_them():
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("m_correction"), train)
    state = state._replace(model=jax.tree.map(jnp.asarray, MODEL))
    found = made.correct(state, jnp.asarray(train.inputs), jnp.asarray(train.targets), np.arange(12))
    own = helpers.logits(helpers.head(state.network.params), train.inputs)
    wrong = wrong_probability(cross_entropy(own, train.targets))[:, None]
    expected = (1 - wrong) * train.targets + wrong * np.eye(3)[own.argmax(axis=1)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def planned(train, epochs, **changes):
    """State and plan of each epoch, of one untrained network."""
    made, state = helpers.make(helpers.settings("m_correction", batch_size=4, **changes), train)
    plan = made.make_planner(train, jax.local_devices()[:1])
    return state, [plan(state, epoch, jax.random.key(epoch)) for epoch in range(epochs)]


def test_epochs_of_the_static_variant():
    train = helpers.training_set(rows=40)
    state, plans = planned(train, 10, correct_start=0.3)
    assert [list(plan.indices) for _, plan in plans] == [["given"]] * 3 + [["corrected"]] * 7
    for _, plan in plans:
        (rows,) = plan.indices.values()
        np.testing.assert_array_equal(np.sort(np.ravel(rows)), np.arange(40))
    helpers.assert_same(plans[2][0], state)
    for after, plan in plans[3:]:
        costs = cross_entropy(helpers.logits(helpers.head(state.network.params), train.inputs), train.targets)
        expected = beta_mixture.fit(costs.astype(np.float32))
        np.testing.assert_allclose(after.model.wrong, expected.wrong, atol=1e-4)
        np.testing.assert_array_equal(plan.info["bootstraps"], np.ones(10))
        assert not plan.info["temperature"].any()
        assert not plan.info["dynamic"].any()


def test_epochs_of_the_dynamic_variant_cool():
    shares = {"correct_start": 0.2, "guided_share": 0.1, "cooling_share": 0.4}
    _, plans = planned(helpers.training_set(rows=40), 10, dynamic=((0.0, 0.0), (0.4, 1.0)), **shares)
    assert [list(plan.indices) for _, plan in plans] == [["given"]] * 2 + [["corrected"]] * 8
    bootstraps, temperature = (
        [float(plan.info[name][0]) for _, plan in plans[2:]] for name in ("bootstraps", "temperature")
    )
    assert bootstraps == [0, 1, 1, 1, 1, 1, 1, 1]
    expected = [1, *np.linspace(1, 0.001, 5), 0.001, 0.001]
    np.testing.assert_allclose(temperature, expected, rtol=1e-5)


def test_soft_bootstrapping_takes_probabilities():
    _, plans = planned(helpers.training_set(rows=40), 1, correct_start=0.0, bootstrap="soft")
    np.testing.assert_array_equal(plans[0][1].info["temperature"], np.ones(10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bootstrap": "medium"}, r"recipes\.m_correction\.bootstrap is 'medium'; it must be hard or soft"),
        ({"correct_start": 1.5}, r"recipes\.m_correction\.correct_start is 1\.5; it must lie in \[0, 1\]"),
        ({"cooling_share": -1}, r"recipes\.m_correction\.cooling_share is -1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        helpers.make(helpers.settings("m_correction", **changes), helpers.training_set())


def test_variant_that_depends_on_the_noise_needs_its_rate():
    train = helpers.training_set(noise_rate=None)
    with pytest.raises(UserError, match=r"recipes\.m_correction\.dynamic depends on it.*noise_rate=0\.2"):
        planned(train, 1, dynamic=((0.0, 0.0), (0.7, 1.0)))
