"""Steps of MLC against NumPy in float64: the look-ahead loss is differentiated by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.errors import UserError
from tests.coupled import helpers
from tests.coupled.test_meta_nets import corrected
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import softmax

ROWS, CLEAN = [4, 0, 9, 2, 7, 11], [5, 0, 3, 1, 4, 2]
DECAY, MOMENTUM = 0.02, 0.9


class Reference:
    """MLC on softmax regression, whose features are the inputs."""

    def __init__(self, train, state, eta, nesterov):
        self.weights, self.eta = retrain_helpers.head(state.network.params), eta
        self.trace, self.nesterov = tuple(np.zeros_like(part) for part in self.weights), nesterov
        self.phi = helpers.float64(state.corrector.params)
        noisy, self.given, clean, truth = helpers.parts(train, ROWS, CLEAN)
        self.noisy, self.judge, self.joining = (
            noisy,
            (clean[0::2], truth[0::2]),
            (clean[1::2], truth[1::2]),
        )

    def training(self, phi):
        """The loss on six corrected and three clean rows, its gradient, and the weights a step on."""
        labels = softmax(corrected(phi, self.noisy, self.given))
        value = (
            6 * helpers.loss(self.weights, self.noisy, labels) + 3 * helpers.loss(self.weights, *self.joining)
        ) / 9
        grads = [
            (6 * a + 3 * b) / 9
            for a, b in zip(
                helpers.loss_gradient(self.weights, self.noisy, labels),
                helpers.loss_gradient(self.weights, *self.joining),
                strict=True,
            )
        ]
        decayed = (grads[0] + DECAY * self.weights[0], grads[1])
        trace = tuple(MOMENTUM * old + new for old, new in zip(self.trace, decayed, strict=True))
        used = trace
        if self.nesterov:
            used = tuple(MOMENTUM * new + now for new, now in zip(trace, decayed, strict=True))
        return value, trace, retrain_helpers.descended(self.weights, used, self.eta)

    def step(self):
        """The loss, and what the meta gradient is made of: its exact part and gamma."""
        value, trace, after = self.training(self.phi)
        exact = helpers.differences(lambda phi: helpers.loss(self.training(phi)[2], *self.judge), self.phi)
        before, ahead = (
            np.concatenate([np.ravel(g) for g in helpers.loss_gradient(w, *self.judge)])
            for w in (self.weights, after)
        )
        gamma = (1 - self.eta) * ahead @ before / (before @ before)
        meta_loss = helpers.loss(after, *self.judge)
        self.trace, self.weights = trace, after
        return value, meta_loss, exact, gamma


def started(eta=0.5, **changes):
    train = helpers.training_set()
    config = retrain_helpers.settings(
        "mlc", lr=eta, momentum=MOMENTUM, weight_decay=DECAY, label_embedding=2, label_width=4,
        batch_size=6, meta_lr=0.05, **changes,
    )  # fmt: skip
    made, state = retrain_helpers.make(config, train)
    return train, made, state, Reference(train, state, eta, config.optimizer == "sgd")


@pytest.mark.parametrize(
    ("eta", "optimizer"),
    [
        (0.5, "momentum"),
        pytest.param(0.5, "sgd", marks=pytest.mark.slow),
        pytest.param(1e-3, "momentum", marks=pytest.mark.slow),
    ],
)
def test_meta_gradient_is_that_of_the_clean_loss_after_the_true_step(eta, optimizer):
    """With momentum and decay; the third step has all of them at work. sgd is Nesterov's."""
    train, made, state, reference = started(eta, optimizer=optimizer)
    mu = jax.tree.map(np.zeros_like, reference.phi)
    for _ in range(3):
        reference.phi = helpers.float64(state.corrector.params)
        value, meta_loss, exact, _ = reference.step()
        state, metrics = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
        np.testing.assert_allclose(metrics["meta_loss"], meta_loss, rtol=1e-5)
        retrain_helpers.assert_head(state.network.params, reference.weights)
        mu = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, mu, exact)
        helpers.assert_close(helpers.momentum_of(state.corrector.opt_state), mu, scale=1e-3)


def test_gradients_are_gathered_over_several_steps_with_the_authors_discount():
    train, made, state, reference = started(gradient_steps=2)
    before = state.corrector.params
    _, _, first, _ = reference.step()
    state, _ = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
    retrain_helpers.assert_same(state.corrector.params, before)
    helpers.assert_close(state.pending, first, scale=1e-3)
    assert state.steps == 1

    _, _, second, gamma = reference.step()
    assert abs(gamma) > 0.1
    state, _ = made.train_step(state, helpers.batch(train, ROWS, CLEAN), axis_name=None)
    gathered = jax.tree.map(lambda new, old: new + gamma * old, second, first)
    helpers.assert_close(
        helpers.momentum_of(state.corrector.opt_state), jax.tree.map(lambda g: 0.1 * g, gathered), scale=1e-3
    )
    # The first step of AMSGrad has the length of its rate.
    helpers.assert_close(
        jax.tree.map(lambda new, old: np.float64(new) - old, state.corrector.params, before),
        jax.tree.map(lambda g: -0.05 * g / (np.abs(g) + 1e-8), gathered),
        rtol=0.02,
        scale=0.02,
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.pending))
    assert state.steps == 0


def test_step_that_cannot_be_looked_through_is_refused():
    with pytest.raises(UserError, match=r"retrain\.optimizer is 'adamw'; .*choose momentum or sgd"):
        started(optimizer="adamw")


def test_decoupled_mlc_learns_the_given_labels_and_then_fixes_its_weights():
    """A look-ahead from fixed weights has no momentum: it is that of a run that starts there."""
    train = helpers.training_set()
    config = retrain_helpers.settings(
        "mlc_decoupled", lr=0.5, momentum=MOMENTUM, weight_decay=DECAY, label_embedding=2, label_width=4,
        batch_size=6, meta_lr=0.05, frozen_from=0.5, epochs=4,
    )  # fmt: skip
    made, state = retrain_helpers.make(config, train)
    plan = made.make_planner(train, [None])
    assert [set(plan(state, epoch, jax.random.key(0))[1].indices) for epoch in (1, 2)] == [
        {"train"},
        {"train", "meta"},
    ]

    weights = retrain_helpers.head(state.network.params)
    both = helpers.batch(train, ROWS, CLEAN)
    alone = both._replace(**{name: {"train": getattr(both, name)["train"]} for name in ("data", "rows")})
    noisy, given, *_ = helpers.parts(train, ROWS, CLEAN)
    before = made.correct(state, jnp.asarray(train.inputs), jnp.asarray(train.targets), jnp.arange(18))
    np.testing.assert_array_equal(before, train.targets)
    state, metrics = made.train_step(state, alone, axis_name=None)
    np.testing.assert_allclose(metrics["loss"], helpers.loss(weights, noisy, given), rtol=1e-5)
    grads = helpers.loss_gradient(weights, noisy, given)
    expected = retrain_helpers.descended(weights, (grads[0] + DECAY * weights[0], grads[1]), 0.5)
    retrain_helpers.assert_head(state.network.params, expected)

    reference = Reference(train, state, 0.5, nesterov=False)
    _, meta_loss, exact, _ = reference.step()
    after, metrics = made.train_step(state, both, axis_name=None)
    np.testing.assert_allclose(metrics["meta_loss"], meta_loss, rtol=1e-5)
    helpers.assert_close(
        helpers.momentum_of(after.corrector.opt_state), jax.tree.map(lambda g: 0.1 * g, exact), scale=1e-3
    )
    retrain_helpers.assert_same(after.network, state.network)


def test_the_share_of_the_epochs_must_leave_some_of_both_kinds():
    with pytest.raises(UserError, match=r"recipes\.mlc_decoupled\.frozen_from is 1"):
        retrain_helpers.make(
            retrain_helpers.settings("mlc_decoupled", frozen_from=1.0, optimizer="momentum"),
            helpers.training_set(),
        )


def test_corrected_labels_are_those_of_the_corrector_in_evaluation_mode():
    train, made, state, reference = started(model="linear")
    found = made.correct(state, jnp.asarray(train.inputs), jnp.asarray(train.targets), jnp.arange(18))
    expected = softmax(corrected(reference.phi, np.float64(train.inputs), np.float64(train.targets)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
