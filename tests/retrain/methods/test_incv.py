"""INCV: the selection against sets in plain Python, its steps against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.retrain.methods import incv, incv_rounds
from dmlp_jax.retrain.methods.incv_rounds import CANDIDATE, DISCARDED, SELECTED, INCVState, Phases
from tests.retrain import helpers
from tests.retrain.helpers import cross_entropy, gradient, logits, softmax
from tests.retrain.methods.dividemix_helpers import batch_of

ROWS = [4, 0, 9, 2, 7, 11, 3, 5]


def started(**changes):
    train = helpers.training_set()
    own = {"epochs": 7, "batch_size": 4, "rounds": 2, "rounds_share": 0.6}
    return train, *helpers.make(helpers.settings("incv", **(own | changes)), train)


def searched_rate(agreement, classes):
    """The authors' search, up to where it divides by zero."""
    last = 1000 * (classes - 1) // classes
    thousandths = 1
    while (
        thousandths < last
        and (1 - thousandths / 1000) ** 2 + (thousandths / 1000) ** 2 / (classes - 1) > agreement
    ):
        thousandths += 1
    return thousandths / 1000


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("agreement", [0.0, 0.05, 0.4, 0.6, 0.87, 0.9999, 1.0])
def test_noise_rate_is_the_authors(classes, agreement):
    found = incv_rounds.estimate_rate(agreement, classes)
    assert found == pytest.approx(searched_rate(agreement, classes), abs=1e-9)


def test_rate_among_selected_rows():
    """Rows are selected where label and prediction agree: both right, or both wrong in the same way."""
    assert incv_rounds.selected_rate(0.4, 10, True) == pytest.approx((0.16 / 9) / (0.16 / 9 + 0.36))
    assert incv_rounds.selected_rate(0.4, 10, False) == pytest.approx(0.16 / (0.16 + 0.36))


@pytest.mark.parametrize(
    ("epochs", "expected"), [(600, (4, 50, 400)), (45, (4, 4, 32)), (4, (1, 1, 2)), (3, (1, 1, 2))]
)
def test_epochs_are_divided(epochs, expected):
    settings = ConfigDict({"epochs": epochs, "rounds": 4, "rounds_share": 2 / 3})
    assert incv_rounds.plan_phases(settings) == expected


class Selection:
    """Two rounds on 24 rows in plain Python, of which the last two are clean."""

    def __init__(self, held_out, symmetric):
        self.selected, self.candidates, self.symmetric = {22, 23}, set(range(22)), symmetric
        self.rate, self.new, self.gone = None, set(), set()
        self.held_out = held_out

    def half(self, outcomes, keep_best):
        """Judges the half that is held out by the outcomes [n, 2] of its epochs."""
        rows = sorted(self.held_out)
        best = max(range(len(outcomes)), key=lambda i: (outcomes[i][rows, 1].mean(), -i)) if keep_best else -1
        loss, hit = outcomes[best].T
        agreed = [row for row in rows if hit[row]]
        if self.rate is None:
            self.rate = searched_rate(len(agreed) / len(rows), 3)
        count = int(min(2, self.rate / (1 - self.rate)) * len(agreed))
        if self.symmetric and count:
            self.gone |= set(sorted(rows, key=lambda row: loss[row])[-count:])
        self.new |= set(agreed)
        self.held_out = self.candidates - self.held_out

    def round_ends(self):
        self.selected |= self.new
        self.candidates -= self.new | self.gone
        self.new, self.gone = set(), set()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("share", [0.85, 0.45])
def test_rows_are_selected_and_discarded_in_rounds(symmetric, share):
    rng = np.random.default_rng(int(100 * share) + symmetric)
    phases = Phases(2, 2, 8)
    status = np.where(np.arange(24) >= 22, SELECTED, CANDIDATE).astype(np.int32)
    # Networks are told apart by their name alone.
    state = INCVState(
        ("start", "other"), "start", "start", np.float32(-1), status, np.zeros(24, bool),
        np.zeros(24, np.int32), np.float32(-1), np.False_,
    )  # fmt: skip
    expected = None
    for epoch in range(1, 9):
        half = (epoch - 1) // 2
        if (epoch - 1) % 4 == 0:
            state = incv_rounds.split(state, jax.random.key(epoch))
            held_out = set(np.flatnonzero(state.held_out))
            if expected is None:
                expected = Selection(held_out, symmetric)
                assert len(held_out) == 11
            assert held_out <= expected.candidates
            expected.held_out = held_out
        if (epoch - 1) % 2 == 0:
            outcomes = [np.stack([rng.uniform(size=24), rng.random(24) < share], axis=1) for _ in range(2)]
            assert state.networks == ("start", "other")
            assert state.best_accuracy == -1
        names = {f"network {epoch - k}": outcomes[(epoch - 1) % 2 - k] for k in range((epoch - 1) % 2 + 1)}
        state = state._replace(networks=(f"network {epoch}", "other"))
        state = incv_rounds.judge(state, epoch, names.__getitem__, phases, symmetric, 3)
        if epoch % 2 == 0:
            # After a late estimate the best epoch counts in the first round only, else in both.
            late = expected.rate is not None and (not symmetric or expected.rate > 0.6)
            expected.half(outcomes, keep_best=half < 2 or not late)
            assert state.rate == pytest.approx(expected.rate)
        if epoch % 4 == 0:
            expected.round_ends()
            assert set(np.flatnonzero(state.status == SELECTED)) == expected.selected
            assert set(np.flatnonzero(state.status == CANDIDATE)) == expected.candidates
            if not symmetric:
                assert not np.any(state.status == DISCARDED)
    assert len(expected.selected) > 6


def test_learning_rates_are_the_authors():
    def select(epoch):
        return 1.0 if epoch <= 20 else 0.5 if epoch <= 30 else 0.25 if epoch <= 40 else 0.1

    def teach(epoch):
        return 0.1 ** sum(epoch >= at for at in (80, 120, 160)) * (0.5 if epoch >= 180 else 1)

    settings = helpers.settings("incv")
    for epoch in range(50):
        assert incv.stepwise(settings.select_rates, epoch / 50) == pytest.approx(select(epoch))
    for epoch in range(0, 200, 5):
        assert incv.stepwise(settings.teach_rates, epoch / 200) == pytest.approx(teach(epoch), rel=1e-5)


def test_step_of_selection_is_cross_entropy_of_the_first_network():
    train, made, state = started()
    weights = helpers.head(state.networks[0].params)
    inputs, targets = np.float64(train.inputs[ROWS]), np.float64(train.targets[ROWS])
    values = logits(weights, inputs)
    after, metrics = made.train_step(
        state, batch_of(train, {"select": ROWS}, jax.random.key(0), ()), axis_name=None
    )
    expected = helpers.descended(weights, gradient(inputs, (softmax(values) - targets) / len(ROWS)))
    helpers.assert_head(after.networks[0].params, expected)
    helpers.assert_same(after.networks[1], state.networks[1])
    np.testing.assert_allclose(metrics["loss"], cross_entropy(values, targets).mean(), rtol=1e-5)


def test_step_of_co_teaching_trains_each_network_on_the_others_small_losses():
    train, made, state = started()
    inputs, targets = np.float64(train.inputs[ROWS]), np.float64(train.targets[ROWS])
    weights = [helpers.head(one.params) for one in state.networks]
    costs = [cross_entropy(logits(one, inputs), targets) for one in weights]
    whole = batch_of(train, {"teach": ROWS}, jax.random.key(0), {"keep": jnp.float32(5 / 8)})
    after, metrics = made.train_step(state, whole._replace(epoch=jnp.float32(5)), axis_name=None)
    losses = []
    for which in (0, 1):
        kept = np.argsort(costs[1 - which])[:5]
        values = logits(weights[which], inputs[kept])
        slopes = (softmax(values) - targets[kept]) / 5
        helpers.assert_head(
            after.networks[which].params,
            helpers.descended(weights[which], gradient(inputs[kept], slopes)),
        )
        losses.append(costs[which][kept].mean())
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-5)


def taught(epoch, rate=0.3, selected=20, candidates=10, symmetric=True, devices=1):
    settings = helpers.settings(
        "incv", batch_size=8, epochs=50, forget_epochs=10, candidates_start=0.25, symmetric=symmetric
    )
    status = np.repeat(np.int32([SELECTED, CANDIDATE, DISCARDED]), [selected, candidates, 4])
    state = INCVState(None, None, None, None, status, None, None, np.float32(rate), None)
    keys = jax.random.key(0), jax.random.key(1)
    return incv._teach(state, epoch, Phases(1, 5, 10), settings, 3, devices, keys)


def test_co_teaching_takes_selected_rows_and_later_candidates():
    early = taught(10)
    assert early.indices["teach"].shape == (2, 8)
    assert early.indices["teach"].max() < 20
    np.testing.assert_allclose(early.info["keep"], 1.0)
    # A quarter of the 40 epochs after; 8 * 10 / 20 = 4 candidates a batch, at most half of 8.
    assert taught(20).indices["teach"].shape == (2, 8)
    later = taught(21)
    assert later.indices["teach"].shape == (2, 12)
    assert later.indices["teach"][:, :8].max() < 20
    assert later.indices["teach"][:, 8:].min() >= 20
    assert later.indices["teach"].max() < 30
    share = 1 - incv_rounds.selected_rate(0.3, 3, True)
    np.testing.assert_allclose(later.info["keep"], round(8 * share) / 12)
    assert taught(21, candidates=60).indices["teach"].shape == (2, 12)
    assert taught(21, candidates=9, devices=2).indices["teach"].shape == (2, 10)
    # High or asymmetric noise lets them in after twice the time.
    for high in ({"rate": 0.61}, {"symmetric": False}):
        assert taught(30, **high).indices["teach"].shape == (2, 8)
        assert taught(31, **high).indices["teach"].shape == (2, 12)


def test_both_networks_predict_once_both_are_trained():
    train, made, state = started()
    first, second = (softmax(logits(helpers.head(one.params), train.inputs)) for one in state.networks)
    found = made.predict(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, first, atol=1e-5)
    found = made.predict(state._replace(teaching=jnp.bool_(True)), jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, (first + second) / 2, atol=1e-5)


def test_impossible_settings_and_an_empty_selection_are_refused():
    with pytest.raises(UserError, match=r"retrain\.epochs is 2.* at least 3 epochs"):
        started(epochs=2)
    with pytest.raises(UserError, match=r"found no row .*config\.retrain\.epochs"):
        taught(10, selected=0)
