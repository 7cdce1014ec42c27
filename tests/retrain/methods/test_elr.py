import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import elr, elr_plus, mixing
from tests.retrain import helpers
from tests.retrain.helpers import softmax, through_softmax


def clipped(probs):
    return np.clip(probs, 1e-4, 1 - 1e-4)


def next_table(table, probs, beta):
    p = clipped(probs)
    return beta * table + (1 - beta) * p / p.sum(axis=-1, keepdims=True)


def objective(logits, goals, table, strength):
    """The loss of a batch and its gradient with respect to the logits."""
    probs = softmax(logits)
    inside = (probs > 1e-4) & (probs < 1 - 1e-4)
    rest = 1 - (table * clipped(probs)).sum(axis=-1, keepdims=True)
    value = helpers.cross_entropy(logits, goals).mean() + strength * np.log(rest).mean()
    hold = through_softmax(probs, np.where(inside, -table / rest, 0.0))
    return value, (goals.sum(axis=-1, keepdims=True) * probs - goals + strength * hold) / len(goals)


def share_right(logits, targets):
    return (logits.argmax(axis=-1) == targets.argmax(axis=-1)).mean()


def redrawn(pair, rng):
    """Two networks or averages with random parameters."""
    return tuple(
        one._replace(params=jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), one.params))
        for one in pair
    )


def fixed_mixes(monkeypatch, rng, rows):
    """Replaces the random mixes of the two networks; returns them and the arguments of the calls."""
    mixes = [mixing.Mix(np.float32(share), rng.permutation(rows)[None]) for share in (0.6, 0.85)]
    calls = []

    def draw(*arguments):
        calls.append(arguments)
        return mixes[len(calls) - 1]

    monkeypatch.setattr(mixing, "draw", draw)
    return mixes, calls


def mixed(mix, rows):
    share = np.float64(mix.share)
    return share * rows + (1 - share) * rows[mix.partners[0]]


@pytest.mark.parametrize("classes", [2, 100])
def test_steps_of_elr(classes):
    train = helpers.training_set(classes)
    made, state = helpers.make(helpers.settings("elr", elr_beta=0.6, elr_strength=2.5), train)
    weights, table = helpers.head(state.network.params), np.zeros((12, classes))
    np.testing.assert_array_equal(state.table, table)
    # The second batch shares rows with the first.
    for rows in ([4, 0, 9, 2, 7, 11, 1, 5], [5, 3, 0, 8, 2, 10, 6, 4]):
        inputs, targets = train.inputs[rows], train.targets[rows]
        logits = helpers.logits(weights, inputs)
        table[rows] = next_table(table[rows], softmax(logits), 0.6)
        value, slopes = objective(logits, targets, table[rows], 2.5)
        weights = helpers.descended(weights, helpers.gradient(inputs, slopes))
        state, metrics = helpers.step(made, state, train, rows)
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-4)
        np.testing.assert_allclose(metrics["train_accuracy"], share_right(logits, targets), rtol=1e-6)
        np.testing.assert_allclose(state.table, table, rtol=1e-4, atol=1e-5)
        helpers.assert_head(state.network.params, weights, atol=2e-4)
    found = made.predict(state, jnp.asarray(train.inputs))
    np.testing.assert_allclose(found, softmax(helpers.logits(weights, train.inputs)), atol=1e-3)


def test_rows_outside_the_batch_keep_their_running_targets():
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("elr"), train)
    table = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(3), size=12), jnp.float32)
    after, _ = helpers.step(made, state._replace(table=table), train, [1, 3])
    others = np.setdiff1d(np.arange(12), [1, 3])
    np.testing.assert_array_equal(np.asarray(after.table)[others], np.asarray(table)[others])
    assert (np.asarray(after.table)[[1, 3]] != np.asarray(table)[[1, 3]]).any(axis=-1).all()


def test_running_target_is_on_the_simplex_and_no_gradient_flows_through_it():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(20 * rng.normal(size=(6, 4)), jnp.float32)
    table = jnp.asarray(rng.dirichlet(np.ones(4), size=6), jnp.float32)
    found = elr.running_target(table, logits, 0.3)
    np.testing.assert_allclose(
        found, next_table(np.float64(table), softmax(np.float64(logits)), 0.3), rtol=1e-5
    )
    np.testing.assert_allclose(np.sum(found, axis=-1), 1.0, rtol=1e-6)
    slopes = jax.grad(lambda z: jnp.sum(elr.running_target(table, z, 0.3) ** 2))(logits)
    np.testing.assert_array_equal(slopes, np.zeros((6, 4)))


@pytest.mark.parametrize(
    ("classes", "epoch", "reweight"),
    [(3, 2.5, False), (2, 9.5, False), (100, 0.0, True)],
)
def test_step_of_elr_plus(classes, epoch, reweight, monkeypatch):
    rng = np.random.default_rng(2)
    mixes, calls = fixed_mixes(monkeypatch, rng, 8)
    train, rows = helpers.training_set(classes), np.array([4, 0, 9, 2, 7, 11, 1, 5])
    config = helpers.settings(
        "elr_plus", elr_beta=0.6, elr_strength=2.5, elr_ramp=0.4, ema=0.9, ema_ramp=0.5, mixup=1.5,
        elr_reweight=reweight,
    )  # fmt: skip
    made, state = helpers.make(config, train)
    tables = 0.7 * rng.dirichlet(np.ones(classes), size=(2, 12))
    state = state._replace(
        networks=redrawn(state.networks, rng),
        averages=redrawn(state.averages, rng),
        tables=tuple(jnp.asarray(table, jnp.float32) for table in tables),
    )
    after, metrics = helpers.step(made, state, train, rows, epoch=epoch)

    rise = [np.exp(-5 * (1 - min(epoch / 10 / length, 1)) ** 2) for length in (0.4, 0.5)]
    inputs, targets = np.float64(train.inputs[rows]), train.targets[rows]
    values, hits = [], []
    for which in (0, 1):
        peer = helpers.logits(helpers.head(state.averages[1 - which].params), inputs)
        tables[which][rows] = next_table(tables[which][rows], softmax(peer), 0.6)
        blend, goals, hold = (mixed(mixes[which], one) for one in (inputs, targets, tables[which][rows]))
        if reweight:
            goals = goals * hold / (goals * hold).sum(axis=-1, keepdims=True)
        weights = helpers.head(state.networks[which].params)
        value, slopes = objective(helpers.logits(weights, blend), goals, hold, 2.5 * rise[0])
        weights = helpers.descended(weights, helpers.gradient(blend, slopes))
        values.append(value)
        hits.append(share_right(peer, targets))
        helpers.assert_head(after.networks[which].params, weights, atol=1e-4)
        keep = 0.9 * rise[1]
        old = helpers.head(state.averages[which].params)
        kept = [keep * a + (1 - keep) * b for a, b in zip(old, weights, strict=True)]
        helpers.assert_head(after.averages[which].params, kept, atol=1e-4)
        np.testing.assert_allclose(after.tables[which], tables[which], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["loss"], np.mean(values), rtol=1e-4)
    np.testing.assert_allclose(metrics["train_accuracy"], np.mean(hits), rtol=1e-6)
    assert [arguments[1:] for arguments in calls] == [(1, 8, 1.5, None)] * 2


def test_elr_plus_starts_from_two_networks_their_copies_and_empty_tables():
    _, state = helpers.make(helpers.settings("elr_plus"), helpers.training_set())
    first, second = (helpers.head(one.params)[0] for one in state.networks)
    assert (first != second).all()
    for network, average, table in zip(state.networks, state.averages, state.tables, strict=True):
        helpers.assert_same(network.params, average.params)
        np.testing.assert_array_equal(table, np.zeros((12, 3)))


def test_elr_plus_mixes_its_two_networks_differently(monkeypatch):
    """Networks that start alike part ways."""
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("elr_plus", mixup=4.0), train)
    state = state._replace(networks=(state.networks[0],) * 2, averages=(state.averages[0],) * 2)
    after, _ = helpers.step(made, state, train, range(8))
    first, second = (helpers.head(one.params)[0] for one in after.networks)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(*after.tables)


def test_batch_statistics_of_elr_plus_are_of_mixed_rows_but_of_unmixed_ones_in_the_averages(monkeypatch):
    mixes, _ = fixed_mixes(monkeypatch, np.random.default_rng(4), 8)
    train, rows = helpers.training_set(), np.arange(8)
    made, state = helpers.make(helpers.settings("elr_plus", model="mlp"), train)
    after, _ = helpers.step(made, state, train, rows)
    inputs = np.float64(train.inputs[rows])
    for which in (0, 1):
        hidden = inputs @ np.float64(state.networks[which].params["encoder"]["Dense_0"]["kernel"])
        for new, seen in ((after.averages, hidden), (after.networks, mixed(mixes[which], hidden))):
            found = new[which].batch_stats["encoder"]["BatchNorm_0"]
            np.testing.assert_allclose(found["mean"], 0.1 * seen.mean(axis=0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["var"], 0.9 + 0.1 * seen.var(axis=0), rtol=1e-4)


def test_elr_plus_predicts_with_the_mean_logits_of_its_networks():
    train = helpers.training_set()
    made, state = helpers.make(helpers.settings("elr_plus"), train)
    state = state._replace(averages=redrawn(state.averages, np.random.default_rng(3)))
    both = [helpers.logits(helpers.head(one.params), train.inputs) for one in state.networks]
    expected = softmax((both[0] + both[1]) / 2)
    np.testing.assert_allclose(made.predict(state, jnp.asarray(train.inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("done", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_ramp_rises_to_one_at_its_length(done):
    expected = np.exp(-5 * (1 - min(done / 0.5, 1)) ** 2)
    np.testing.assert_allclose(elr_plus.ramp(jnp.float32(done), 0.5), expected, rtol=1e-5)
    assert elr_plus.ramp(jnp.float32(done), 0.0) == 1.0
