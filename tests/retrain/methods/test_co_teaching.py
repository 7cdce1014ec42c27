from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import co_teaching
from tests.retrain import helpers
from tests.retrain.helpers import softmax

ROWS = np.array([4, 0, 9, 2, 7, 11, 1, 5])
small_loss_weights = jax.jit(co_teaching.small_loss_weights, static_argnums=3)


def kept_rows(costs, eligible, keep):
    """The rows of smallest loss, floor(keep * eligible) but at least one where there are any."""
    rows = np.flatnonzero(eligible)
    count = min(max(int(np.floor(keep * len(rows) + 1e-9)), 1), len(rows))
    return rows[np.argsort(costs[rows], kind="stable")][:count]


def exchanged(weights, inputs, targets, keep, disagreement):
    """Losses and gradients of the two networks, each on the rows that the other one picks."""
    logits = [helpers.logits(one, inputs) for one in weights]
    costs = [helpers.cross_entropy(one, targets) for one in logits]
    eligible = np.ones(len(inputs), bool)
    if disagreement:
        eligible = logits[0].argmax(axis=-1) != logits[1].argmax(axis=-1)
    values, grads = [], []
    for own in (0, 1):
        rows = kept_rows(costs[1 - own], eligible, keep)
        slopes = (softmax(logits[own]) - targets)[rows] / max(len(rows), 1)
        values.append(costs[own][rows].sum() / max(len(rows), 1))
        grads.append(helpers.gradient(inputs[rows], slopes))
    return values, grads


def check_steps(config, train, cases):
    """One step at each (epoch, noise rate, share kept, whether disagreement is asked for)."""
    made, state = helpers.make(config, train)
    inputs, targets = train.inputs[ROWS], train.targets[ROWS]
    before = [helpers.head(one.params) for one in state.networks]
    for epoch, noise_rate, keep, disagreement in cases:
        start = state._replace(noise_rate=jnp.float32(noise_rate))
        after, metrics = helpers.step(made, start, train, ROWS, epoch=epoch)
        values, grads = exchanged(before, inputs, targets, keep, disagreement)
        np.testing.assert_allclose(metrics["loss"], np.mean(values), rtol=1e-5)
        np.testing.assert_allclose(metrics["kept"], keep, rtol=1e-5, atol=1e-7)
        for one, weights, slopes in zip(after.networks, before, grads, strict=True):
            helpers.assert_head(one.params, helpers.descended(weights, slopes), atol=5e-5)


@pytest.mark.parametrize("classes", [2, 100])
def test_steps_of_co_teaching(classes):
    cases = [(0.9, 0.8, 0.8, False), (1.7, 0.5, 0.75, False), (9.0, 0.8, 0.2, False), (7.0, 1.0, 0.0, False)]
    check_steps(helpers.settings("co_teaching", forget_epochs=5), helpers.training_set(classes), cases)


def test_noise_rate_is_the_training_sets():
    _, state = helpers.make(helpers.settings("co_teaching"), helpers.training_set(noise_rate=0.35))
    np.testing.assert_allclose(state.noise_rate, 0.35, rtol=1e-6)


def test_co_teaching_plus_asks_for_disagreement_from_its_start_on():
    train = helpers.training_set(seed=1)
    config = helpers.settings("co_teaching_plus", forget_epochs=1, plus_start=0.3)
    check_steps(config, train, [(2.99, 0.4, 0.6, False), (3.0, 0.4, 0.6, True), (8.0, 0.8, 0.2, True)])


def test_co_teaching_plus_learns_nothing_without_disagreement():
    train = helpers.training_set(noise_rate=0.4)
    made, state = helpers.make(helpers.settings("co_teaching_plus", plus_start=0.5), train)
    state = state._replace(networks=(state.networks[0],) * 2)
    after, metrics = helpers.step(made, state, train, ROWS, epoch=5.0)
    assert metrics["loss"] == 0.0
    helpers.assert_same(after.networks, state.networks)
    before_start, metrics = helpers.step(made, state, train, ROWS, epoch=4.9)
    assert metrics["loss"] > 0.0
    assert (
        helpers.head(before_start.networks[0].params)[0] != helpers.head(state.networks[0].params)[0]
    ).any()


@pytest.mark.parametrize("ramp", [1, 2, 10])
@pytest.mark.parametrize("epoch", [0.0, 0.99, 1.0, 7.5, 8.0, 9.0, 150.5])
def test_forget_rate_is_that_of_the_authors_at_their_epoch(epoch, ramp):
    """Their schedule is indexed by the epoch, and their first epoch of training is number 1."""
    schedule = np.full(200, 0.6)
    schedule[:ramp] = np.linspace(0, 0.6, ramp)
    found = co_teaching.forget_rate(jnp.float32(0.6), jnp.float32(epoch), ramp)
    np.testing.assert_allclose(found, schedule[int(epoch) + 1], rtol=1e-6)


def test_number_of_kept_rows_is_exact_along_the_ramp():
    """Rounding to float32 must not lose a row where (1 - R) B is whole."""
    sizes = np.array([1, 2, 5, 8, 10, 20, 50, 64, 100, 128])
    rates, epochs = np.arange(0, 101, 5), np.arange(0, 11)
    costs = jnp.asarray(np.random.default_rng(0).random(128), jnp.float32)

    def count(size, percent, epoch):
        keep = 1.0 - co_teaching.forget_rate(jnp.float32(percent) / 100, epoch, 10)
        weights = co_teaching.small_loss_weights(costs, jnp.arange(128) < size, keep, None)
        return jnp.sum(weights > 0), jnp.sum(weights)

    grid = [axis.ravel() for axis in np.meshgrid(sizes, rates, epochs, indexing="ij")]
    found, totals = jax.jit(jax.vmap(count))(grid[0], grid[1], np.float32(grid[2]))
    expected = [
        max(int((1 - Fraction(int(percent), 100) * min(Fraction(int(epoch) + 1, 9), 1)) * int(size)), 1)
        for size, percent, epoch in zip(*grid, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(totals, 1.0, rtol=1e-5)


def test_as_many_of_equal_losses_are_kept_as_of_others():
    for keep, count in ((0.0, 1), (0.3, 3), (0.75, 9), (1.0, 12)):
        found = small_loss_weights(jnp.ones(12), jnp.ones(12, bool), keep, None)
        np.testing.assert_allclose(np.sort(found)[::-1], np.repeat([1 / count, 0.0], [count, 12 - count]))


def test_weights_average_over_the_smallest_eligible_losses_without_gradient():
    rng = np.random.default_rng(2)
    costs, eligible = np.float32(rng.random(12)), np.arange(12) % 3 > 0
    found = small_loss_weights(costs, eligible, 0.5, None)
    expected = np.zeros(12)
    expected[kept_rows(costs, eligible, 0.5)] = 1 / 4
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(small_loss_weights(costs, np.zeros(12, bool), 0.5, None), np.zeros(12))
    slopes = jax.grad(lambda c: small_loss_weights(c, eligible, 0.5, None) @ jnp.arange(12.0))(costs)
    np.testing.assert_array_equal(slopes, np.zeros(12))


def test_rows_spread_over_an_axis_are_picked_as_on_one_device():
    rng = np.random.default_rng(3)
    costs, eligible = np.float32(rng.random(12)), rng.random(12) < 0.7
    spread = jax.jit(jax.vmap(lambda c, e: small_loss_weights(c, e, 0.6, "devices"), axis_name="devices"))
    found = spread(costs.reshape(3, 4), eligible.reshape(3, 4))
    np.testing.assert_allclose(found.ravel() / 3, small_loss_weights(costs, eligible, 0.6, None), rtol=1e-6)


def test_first_momentum_of_adam_falls_at_the_step_where_the_rate_begins_to_decay():
    config = helpers.settings(
        "co_teaching", optimizer="adam_switch", schedule="linear", lr_decay_start=0.5, epochs=4, lr=0.1
    )
    train = helpers.training_set(noise_rate=0.0)
    made, state = helpers.make(config, train)
    weights = [helpers.head(one.params) for one in state.networks]
    first, second = np.zeros((2, 2), object)
    for number in range(8):
        epoch = number / 2
        _, grads = exchanged(weights, train.inputs[ROWS], train.targets[ROWS], 1.0, False)
        b1, rate = (0.9, 0.1) if number < 4 else (0.1, 0.1 * (4 - epoch) / 2)
        for which in (0, 1):
            slopes = np.array(grads[which], object)
            first[which] = b1 * first[which] + (1 - b1) * slopes
            second[which] = 0.999 * second[which] + 0.001 * slopes**2
            weights[which] = tuple(
                w - rate * m / (1 - b1 ** (number + 1)) / (np.sqrt(v / (1 - 0.999 ** (number + 1))) + 1e-8)
                for w, m, v in zip(weights[which], first[which], second[which], strict=True)
            )
        state, _ = helpers.step(made, state, train, ROWS, epoch=epoch)
        for one, expected in zip(state.networks, weights, strict=True):
            helpers.assert_head(one.params, expected, atol=2e-4)


def test_co_teaching_predicts_the_mean_probability():
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("co_teaching"), train)
    expected = (
        sum(softmax(helpers.logits(helpers.head(one.params), train.inputs)) for one in state.networks) / 2
    )
    np.testing.assert_allclose(made.predict(state, jnp.asarray(train.inputs)), expected, atol=1e-5)
