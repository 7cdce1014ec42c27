"""Steps of FaMUS against NumPy in float64, with gates against gradients of the whole look-ahead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dmlp_jax.coupled import famus_gates
from dmlp_jax.coupled.meta_nets import WeightNet
from dmlp_jax.errors import UserError
from dmlp_jax.retrain.method import Task
from dmlp_jax.retrain.methods import losses, mixing
from dmlp_jax.retrain.network import Network
from dmlp_jax.training import learning_rates
from dmlp_jax.training.state import make_optimizer
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain.helpers import LR, cross_entropy, logits, softmax
from tests.retrain.methods.dividemix_helpers import batch_of, sharpened

LABELLED, UNLABELLED, META = np.array([[4, 0, 9, 2], [3, 5, 8, 1], [2, 9, 0, 7]])
META_LR, DECAY, LAMBDA, MISMATCH = 0.5, 0.01, 3.0, 0.4


def training_set():
    made = retrain_helpers.training_set()
    return made._replace(inputs=made.inputs / 4)


def started(**changes):
    train = training_set()
    own = {
        "batch_size": 4, "meta_lr": META_LR, "meta_decay": DECAY, "weight_width": 4, "divide_warmup": 2,
        "mismatch_weight": MISMATCH,
    }  # fmt: skip
    return train, *retrain_helpers.make(retrain_helpers.settings("famus", **(own | changes)), train)


def fixed_mixes(monkeypatch):
    """Mixtures that the reference can repeat, of four groups and of two."""
    rng = np.random.default_rng(3)
    fixed = {n: (rng.uniform(0.5, 1.0), rng.permutation(4 * n)) for n in (4, 2)}

    def draw(key, groups, *_, **__):
        share, order = fixed[groups]
        return mixing.Mix(jnp.float32(share), jnp.asarray(order.reshape(groups, 4)))

    monkeypatch.setattr(mixing, "draw", draw)
    return {
        n: lambda rows, share=share, order=order: share * rows + (1 - share) * rows[order]
        for n, (share, order) in fixed.items()
    }


def penalty(values):
    """KL of the uniform distribution from the mean prediction."""
    mean, classes = softmax(values).mean(axis=0), values.shape[1]
    return np.sum((np.log(1 / classes) - np.log(mean)) / classes)


def mismatch(train, judged):
    """Of the last layer's kernel [d, c] and bias [c]."""
    return sum(
        np.mean((ours.mean(axis=0) - goal.mean(axis=0)) ** 2)
        + np.mean((ours.std(axis=0, ddof=1) - goal.std(axis=0, ddof=1)) ** 2)
        for ours, goal in zip(train, judged, strict=True)
    )


class Reference:
    """FaMUS on softmax regression, whose only layer has no gate."""

    def __init__(self, train, state, clean, mixes):
        self.own, self.peer = (
            retrain_helpers.head(jax.tree.map(lambda leaf: leaf[which], state.networks.params))  # noqa: B023
            for which in (1, 0)
        )
        self.weights = helpers.float64(jax.tree.map(lambda leaf: leaf[1], state.weights.params))
        self.trace = jax.tree.map(np.zeros_like, self.weights)
        self.train, self.clean, self.mixes = train, clean, mixes

    def prepare(self):
        parts = [np.float64(self.train.inputs[rows]) for rows in (LABELLED, UNLABELLED, META)]
        refined, guessed = [], []
        for rows, inputs in zip((LABELLED, UNLABELLED, META), parts, strict=True):
            own, peer = softmax(logits(self.own, inputs)), softmax(logits(self.peer, inputs))
            right = self.clean[rows][:, None]
            refined.append(sharpened(right * self.train.targets[rows] + (1 - right) * own, 0.5))
            guessed.append(sharpened((own + peer) / 2, 0.5))
        order = [0, 0, 1, 1]
        self.inputs, self.goals, self.hints = (
            self.mixes[4](np.concatenate([part[i] for i in order])) for part in (parts, refined, guessed)
        )
        self.judge, self.truth = (self.mixes[2](np.concatenate([part[2]] * 2)) for part in (parts, refined))
        self.costs = cross_entropy(logits(self.own, self.inputs), self.goals)

    def values(self, params):
        raw = helpers.weight(params, self.costs)
        return raw / raw.sum()

    def loss(self, weights, values):
        found = logits(weights, self.inputs)
        fit = cross_entropy(found, self.goals)[:8]
        apart = np.mean((softmax(found) - self.hints) ** 2, axis=1)[8:]
        return 2 * values[:8] @ fit + 2 * LAMBDA * values[8:] @ apart + penalty(found)

    def gradient(self, values):
        return helpers.differences(lambda w: self.loss(w, values), self.own)

    def judged(self, weights):
        found = logits(weights, self.judge)
        return cross_entropy(found, self.truth).mean() + penalty(found)

    def step(self):
        self.prepare()
        grads = self.gradient(self.values(self.weights))
        ahead = retrain_helpers.descended(self.own, grads, LR)
        held = helpers.differences(self.judged, ahead)

        def meta_loss(params):
            grads = self.gradient(self.values(params))
            after = self.judged(retrain_helpers.descended(self.own, grads, LR))
            return after + MISMATCH * mismatch(grads, held)

        found = meta_loss(self.weights)
        slopes = helpers.differences(meta_loss, self.weights, step=1e-4)
        decayed = jax.tree.map(lambda g, p: g + DECAY * p, slopes, self.weights)
        self.trace = jax.tree.map(lambda t, d: 0.9 * t + d, self.trace, decayed)
        self.weights = jax.tree.map(
            lambda p, t, d: p - META_LR * (d + 0.9 * t), self.weights, self.trace, decayed
        )
        values = self.values(self.weights)
        loss = self.loss(self.own, values)
        self.own = retrain_helpers.descended(self.own, self.gradient(values), LR)
        return loss, found, slopes


def test_steps_of_famus(monkeypatch):
    mixes = fixed_mixes(monkeypatch)
    train, made, state = started()
    clean = np.random.default_rng(4).uniform(size=12)
    # The second network is in training; the first one's division counts.
    state = state._replace(clean=jnp.float32(np.stack([clean, np.zeros(12)])))
    reference = Reference(train, state, clean, mixes)
    rows = {"labelled": LABELLED, "unlabelled": UNLABELLED, "meta": META}
    info = {"network": jnp.int32(1), "lambda_u": jnp.float32(LAMBDA), "labelled": jnp.float32(0.5)}
    first = jax.tree.map(lambda leaf: leaf[0], state.networks)
    for _ in range(2):
        before = reference.weights
        loss, found, slopes = reference.step()
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) > 1e-3
        state, metrics = made.train_step(
            state, batch_of(train, rows, jax.random.key(0), info, 3.0), axis_name=None
        )
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4)
        np.testing.assert_allclose(metrics["meta_loss"], found, rtol=1e-4)
        moved = jax.tree.map(lambda leaf, old: np.float64(leaf[1]) - old, state.weights.params, before)
        helpers.assert_close(
            moved, jax.tree.map(lambda new, old: new - old, reference.weights, before), rtol=0.02, scale=0.02
        )
        own = jax.tree.map(lambda leaf: leaf[1], state.networks.params)
        retrain_helpers.assert_head(own, reference.own, atol=2e-4)
    retrain_helpers.assert_same(jax.tree.map(lambda leaf: leaf[0], state.networks), first)
    both = [logits(retrain_helpers.head(part), train.inputs) for part in (first.params, own)]
    np.testing.assert_allclose(
        made.predict(state, jnp.asarray(train.inputs)), softmax(sum(both) / 2), atol=1e-3
    )


def test_warm_up_is_cross_entropy_of_one_network():
    train, made, state = started()
    weights = retrain_helpers.head(jax.tree.map(lambda leaf: leaf[0], state.networks.params))
    inputs, targets = np.float64(train.inputs[LABELLED]), np.float64(train.targets[LABELLED])
    after, _ = made.train_step(
        state,
        batch_of(train, {"all": LABELLED}, jax.random.key(0), {"network": jnp.int32(0)}),
        axis_name=None,
    )
    expected = retrain_helpers.descended(weights, helpers.loss_gradient(weights, inputs, targets))
    retrain_helpers.assert_head(jax.tree.map(lambda leaf: leaf[0], after.networks.params), expected)
    retrain_helpers.assert_same(after.weights, state.weights)


def test_epochs_divide_the_rows_for_the_other_network():
    train, made, state = started(lambda_u=6.0, lambda_u_ramp=4)
    plan = made.make_planner(train, jax.local_devices()[:1])
    state, planned = plan(state, 1, jax.random.key(1))
    assert set(planned.indices) == {"all"}
    np.testing.assert_array_equal(planned.info["network"], [0, 0, 0, 1, 1, 1])
    state, planned = plan(state, 3, jax.random.key(1))
    np.testing.assert_allclose(planned.info["lambda_u"], 6 / 4)
    for which in (0, 1):
        mine = planned.info["network"] == which
        kept, rest, meta = (
            set(np.ravel(planned.indices[name][mine])) for name in ("labelled", "unlabelled", "meta")
        )
        assert kept | rest == set(range(12))
        assert not kept & rest
        assert meta <= kept
        peer = np.asarray(state.clean)[1 - which]
        assert min(peer[list(kept)]) >= max(peer[list(rest)])


class TestGates:
    """On a network of two dense layers."""

    def test_tensors_with_gates_are_the_last_in_the_networks_order(self):
        config = retrain_helpers.settings("famus", model="small_cnn", gated_tensors=3)
        names = famus_gates.gated_names(config, 3, np.zeros((2, 8, 8, 1), np.float32))
        config.gated_tensors = 100
        every = famus_gates.gated_names(config, 3, np.zeros((2, 8, 8, 1), np.float32))
        assert every[-3:] == names
        # Three convolutions with batch norm, then a dense layer.
        assert names[-1].endswith("Dense_0/bias")
        assert every[0].startswith("encoder/Conv3x3_0")
        assert not set(every) & set(famus_gates.HEAD)
        assert famus_gates.gated_names(retrain_helpers.settings("famus"), 3, np.zeros((2, 5))) == []

    def test_gradients_are_summed_for_each_output_unit(self):
        grads = {"kernel": jnp.arange(24.0).reshape(2, 3, 4), "bias": jnp.arange(4.0)}
        found = famus_gates.unit_sums(grads)
        np.testing.assert_allclose(found["kernel"], np.arange(24.0).reshape(6, 4).sum(axis=0))
        np.testing.assert_allclose(found["bias"], np.arange(4.0))

    def test_gates_are_drawn_by_gumbel_softmax_with_the_soft_gradient(self):
        grads = {"a": jnp.float32([1.0, -2.0, 0.5]), "b": jnp.ones((2, 4)).at[0, 0].set(3.0)}
        params = famus_gates.init(jax.random.key(0), grads)
        opened = jax.vmap(lambda key: famus_gates.draw(key, params, grads))(
            jax.random.split(jax.random.key(1), 2000)
        )
        for name, sums in famus_gates.unit_sums(grads).items():
            made = famus_gates.GateNet(len(sums)).apply({"params": params[name]}, sums)
            assert set(np.unique(np.round(opened[name], 5))) == {0.0, 1.0}
            # P(open) is that of the softmax at temperature one, as noise is added before the division.
            np.testing.assert_allclose(np.mean(opened[name]), jax.nn.softmax(made)[1], atol=0.04)
        key = jax.random.key(2)
        found = jax.grad(lambda params: famus_gates.draw(key, params, grads)["a"])(params)
        noise = jax.random.gumbel(jax.random.fold_in(key, 0), (2,))

        def soft(params):
            made = famus_gates.GateNet(3).apply({"params": params["a"]}, grads["a"])
            return jax.nn.softmax((made + noise) / 5.0)[1]

        helpers.assert_close(found["a"], jax.grad(soft)(params)["a"])

    def test_mismatch_is_of_means_and_deviations(self):
        rng = np.random.default_rng(0)
        train, judged = ([rng.normal(size=(5, 3)), rng.normal(size=3)] for _ in range(2))
        named = [dict(zip(famus_gates.HEAD, map(jnp.float32, part), strict=True)) for part in (train, judged)]
        np.testing.assert_allclose(famus_gates.head_mismatch(*named), mismatch(train, judged), rtol=1e-5)

    @pytest.mark.parametrize("forced", [0.0, 1.0])
    def test_meta_gradients_are_those_of_the_gated_look_ahead(self, monkeypatch, forced):
        """Through batch norm, against jax.grad of the whole step, which differentiates twice."""
        mixes = fixed_mixes(monkeypatch)
        # A gate whose only parameter is its value, so that its step shows the slope.
        monkeypatch.setattr(famus_gates, "draw", lambda key, params, grads: params)
        monkeypatch.setattr(
            famus_gates, "init", lambda key, shapes: dict.fromkeys(shapes, jnp.float32(forced))
        )
        plain = {"gates_lr": 1.0, "gates_weight": 0.0, "meta_lr": 1.0, "meta_decay": 0.0}
        train, made, state = started(model="mlp", gated_tensors=2, **plain)
        clean = jnp.linspace(0.1, 0.9, 12)
        state = state._replace(clean=jnp.stack([clean, clean]))
        info = {"network": jnp.int32(0), "lambda_u": jnp.float32(LAMBDA), "labelled": jnp.float32(0.5)}
        rows = {"labelled": LABELLED, "unlabelled": UNLABELLED, "meta": META}
        after, _ = made.train_step(state, batch_of(train, rows, jax.random.key(0), info), axis_name=None)

        config = retrain_helpers.settings("famus", model="mlp")
        network = Network(config, Task(3, 2, None), make_optimizer(config, learning_rates.make(config)))
        own, peer = (jax.tree.map(lambda leaf: leaf[which], state.networks) for which in (0, 1))  # noqa: B023
        inputs = [jnp.asarray(train.inputs[part]) for part in (LABELLED, UNLABELLED, META)]
        views = jnp.concatenate([inputs[i] for i in (0, 0, 1, 1, 2, 2)])

        def forward(params, rows):
            return network.train_logits(params, own.batch_stats, rows, jax.random.key(0), None)[0]

        guesses = jax.nn.softmax(forward(own.params, views)).reshape(3, 2, 4, 3).mean(axis=1)
        others = jax.nn.softmax(network.logits(peer, views)).reshape(3, 2, 4, 3).mean(axis=1)
        right = jnp.stack([clean[jnp.array(part)] for part in (LABELLED, UNLABELLED, META)])[..., None]
        given = jnp.stack([jnp.asarray(train.targets[part]) for part in (LABELLED, UNLABELLED, META)])
        refined = sharpened(np.asarray(right * given + (1 - right) * guesses), 0.5)
        guessed = sharpened(np.asarray((guesses + others) / 2), 0.5)
        mixed = mixes[4](views[:16])
        goals, hints = (
            mixes[4](np.concatenate([part[i] for i in (0, 0, 1, 1)])) for part in (refined, guessed)
        )
        judge, truth = mixes[2](views[16:]), mixes[2](np.concatenate([refined[2]] * 2))
        costs = losses.cross_entropy(forward(own.params, mixed), goals)
        net = WeightNet(4)

        def regular(found):
            return -jnp.mean(jnp.log(jax.nn.softmax(found).mean(axis=0))) - jnp.log(3.0)

        def loss(params, values):
            found = forward(params, mixed)
            fit = losses.cross_entropy(found, goals)[:8]
            apart = jnp.mean((jax.nn.softmax(found) - hints) ** 2, axis=1)[8:]
            return 2 * values[:8] @ fit + 2 * LAMBDA * values[8:] @ apart + regular(found)

        def judged(params):
            found = forward(params, judge)
            return jnp.mean(losses.cross_entropy(found, truth)) + regular(found)

        held = {}

        def meta_loss(params, gates):
            raw = net.apply({"params": params}, costs)
            grads = jax.grad(loss)(own.params, raw / raw.sum())
            flat = traverse_util.flatten_dict(grads, sep="/")
            stopped = jax.lax.stop_gradient(flat)
            used = {
                name: leaf
                if name in famus_gates.HEAD
                else gates[name] * leaf
                if name in gates and forced
                else (1 - gates[name]) * stopped[name]
                if name in gates
                else stopped[name]
                for name, leaf in flat.items()
            }
            moved = jax.tree.map(
                lambda w, g: w - LR * g, own.params, traverse_util.unflatten_dict(used, sep="/")
            )
            ahead = traverse_util.flatten_dict(jax.grad(judged)(moved), sep="/")
            held.update(jax.lax.stop_gradient(ahead))
            train_head, held_head = ([part[name] for name in famus_gates.HEAD] for part in (flat, held))
            apart = sum(
                jnp.mean((ours.mean(axis=0) - goal.mean(axis=0)) ** 2)
                + jnp.mean((ours.std(axis=0, ddof=1) - goal.std(axis=0, ddof=1)) ** 2)
                for ours, goal in zip(train_head, held_head, strict=True)
            )
            return judged(moved) + MISMATCH * apart

        start = [jax.tree.map(lambda leaf: leaf[0], part.params) for part in (state.weights, state.gates)]
        slopes, gate_slopes = jax.jit(jax.grad(meta_loss, argnums=(0, 1)))(*start)
        # Nesterov's first step is 1.9 times the gradient.
        ended = [jax.tree.map(lambda leaf: leaf[0], part.params) for part in (after.weights, after.gates)]
        for begin, end, expected in zip(start, ended, (slopes, gate_slopes), strict=True):
            found = jax.tree.map(lambda new, old: (old - new) / 1.9, end, begin)
            assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(expected)) > 1e-4
            helpers.assert_close(found, expected, rtol=0.01, scale=0.01)


def test_batches_that_leave_no_unlabelled_rows_are_refused():
    with pytest.raises(UserError, match=r"batch_size is 7 with 12 rows .* at most 6"):
        started(batch_size=7)
