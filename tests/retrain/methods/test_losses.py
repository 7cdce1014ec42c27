import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import losses
from tests.retrain import helpers
from tests.retrain.helpers import log_softmax, softmax, through_softmax

CLASSES = pytest.mark.parametrize("classes", [2, 100])


def soft_problem(classes, rows=20):
    """Logits, hard targets in the first half of the rows and soft ones in the second."""
    rng = np.random.default_rng(classes)
    logits = 3.0 * rng.normal(size=(rows, classes))
    hard = np.eye(classes)[rng.integers(classes, size=rows // 2)]
    soft = rng.dirichlet(np.ones(classes), size=rows - rows // 2)
    return logits.astype(np.float32), np.concatenate([hard, soft]).astype(np.float32)


def check(loss, logits, other, values, slopes):
    """The loss of rows is `values`, the gradient of their sum with respect to the logits `slopes`."""

    @jax.jit
    def both(z, other):
        value, back = jax.vjp(lambda z: loss(z, other), z)
        return value, back(jnp.ones_like(value))[0]

    found = both(logits, other)
    np.testing.assert_allclose(found[0], values, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(found[1], slopes, rtol=1e-4, atol=2e-6)


@CLASSES
def test_cross_entropy(classes):
    logits, targets = soft_problem(classes)
    z = np.float64(logits)
    check(losses.cross_entropy, logits, targets, -(targets * log_softmax(z)).sum(-1), softmax(z) - targets)


@CLASSES
@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalized_cross_entropy(classes, q):
    logits, targets = soft_problem(classes)
    probs = softmax(np.float64(logits))
    right = (targets * probs).sum(axis=-1, keepdims=True)
    slopes = through_softmax(probs, -(right ** (q - 1)) * targets)
    values = (1 - right[:, 0] ** q) / q
    check(lambda z, t: losses.generalized_cross_entropy(z, t, q), logits, targets, values, slopes)


def test_generalized_cross_entropy_lies_between_absolute_error_and_cross_entropy():
    logits, targets = soft_problem(10)
    hard = slice(0, 10)
    loss = jax.jit(losses.generalized_cross_entropy)
    tiny = loss(logits, targets, 1e-3)[hard]
    np.testing.assert_allclose(tiny, helpers.cross_entropy(np.float64(logits), targets)[hard], rtol=1e-2)
    linear = loss(logits, targets, 1.0)[hard]
    distance = np.abs(softmax(np.float64(logits)) - targets).sum(axis=-1)[hard]
    np.testing.assert_allclose(linear, distance / 2, rtol=1e-5, atol=1e-6)


def test_generalized_cross_entropy_of_an_impossible_label_has_a_finite_gradient():
    logits, targets = jnp.array([[300.0, 0.0]]), jnp.array([[0.0, 1.0]])
    loss = jax.value_and_grad(lambda z: losses.generalized_cross_entropy(z, targets)[0])
    value, slopes = jax.jit(loss)(logits)
    np.testing.assert_allclose(value, 1 / 0.7, rtol=1e-4)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-6)


@CLASSES
@pytest.mark.parametrize("share", [0.0, 0.6, 0.95])
def test_bootstrapping_has_no_gradient_through_its_target(classes, share):
    logits, targets = soft_problem(classes)
    probs = softmax(np.float64(logits))
    goals = share * targets + (1 - share) * probs
    values = -(goals * np.log(probs)).sum(axis=-1)
    check(lambda z, t: losses.bootstrapping(z, t, share), logits, targets, values, share * (probs - targets))


@CLASSES
def test_negative_entropy(classes):
    logits, _ = soft_problem(classes)
    probs = softmax(np.float64(logits))
    values = (probs * np.log(probs)).sum(axis=-1)
    slopes = through_softmax(probs, np.log(probs) + 1)
    check(lambda z, _: losses.negative_entropy(z), logits, logits, values, slopes)


@CLASSES
def test_early_learning_term_and_its_gradient_within_the_clipping(classes):
    logits, table = soft_problem(classes)
    logits, table = 2 * logits, 0.8 * table
    probs = softmax(np.float64(logits))
    inside = (probs > 1e-4) & (probs < 1 - 1e-4)
    assert not inside.all()
    rest = 1 - (table * np.clip(probs, 1e-4, 1 - 1e-4)).sum(axis=-1)
    slopes = through_softmax(probs, np.where(inside, -table / rest[:, None], 0.0))
    check(losses.early_learning, logits, table, np.log(rest), slopes)


def test_early_learning_has_no_gradient_through_the_table():
    logits, table = soft_problem(3)
    slopes = jax.jit(jax.grad(lambda t: jnp.sum(losses.early_learning(logits, t))))(table)
    np.testing.assert_array_equal(slopes, np.zeros_like(table))


def test_early_learning_is_finite_where_the_prediction_is_certain():
    logits, table = jnp.array([[200.0, -200.0]]), jnp.array([[1.0, 0.0]])
    value, slopes = jax.jit(jax.value_and_grad(lambda z: losses.early_learning(z, table)[0]))(logits)
    np.testing.assert_allclose(value, np.log(1e-4), rtol=1e-3)
    assert np.isfinite(slopes).all()


@CLASSES
def test_clipped_probabilities(classes):
    logits = np.concatenate([soft_problem(classes)[0], 200 * np.eye(classes, dtype=np.float32)[:2]])
    expected = np.clip(softmax(np.float64(logits)), 1e-4, 1 - 1e-4)
    np.testing.assert_allclose(jax.jit(losses.clipped_probs)(logits), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes"), [("naive", {}), ("gce", {"gce_q": 0.4}), ("bootstrap", {"bootstrap_share": 0.6})]
)
def test_step_of_one_network_descends_the_mean_loss_of_its_settings(name, changes):
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings(name, **changes), train)
    rows = np.arange(8)
    inputs, targets, before = train.inputs[rows], train.targets[rows], helpers.head(state.params)
    after, metrics = helpers.step(made, state, train, rows)
    logits = helpers.logits(before, inputs)
    probs = softmax(logits)
    if name == "gce":
        right = (targets * probs).sum(axis=-1, keepdims=True)
        values, slopes = (1 - right**0.4) / 0.4, through_softmax(probs, -(right**-0.6) * targets)
    elif name == "bootstrap":
        values = helpers.cross_entropy(logits, 0.6 * targets + 0.4 * probs)
        slopes = 0.6 * (probs - targets)
    else:
        values, slopes = helpers.cross_entropy(logits, targets), probs - targets
    np.testing.assert_allclose(metrics["loss"], values.mean(), rtol=1e-5)
    hits = logits.argmax(axis=-1) == targets.argmax(axis=-1)
    np.testing.assert_allclose(metrics["train_accuracy"], hits.mean(), rtol=1e-6)
    weights = helpers.descended(before, helpers.gradient(inputs, slopes / 8))
    helpers.assert_head(after.params, weights)
    expected = softmax(helpers.logits(weights, train.inputs))
    np.testing.assert_allclose(made.predict(after, jnp.asarray(train.inputs)), expected, atol=5e-5)
