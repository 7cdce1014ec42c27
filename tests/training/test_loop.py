import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dmlp_jax.errors import UserError
from dmlp_jax.training import dispatch, learning_rates, loop
from dmlp_jax.training.dispatch import Plan
from dmlp_jax.training.loop import LoopOptions
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session, Stopped
from dmlp_jax.training.state import TrainState, apply_gradients, init_state, make_optimizer

ROWS, WIDTH = 20, 4
OPTIMIZER = optax.adam(0.05)


def step(state, batch, *, axis_name):
    """Noisy least squares: uses the rows, the keys and the optimiser's state."""
    noise = 0.1 * jax.vmap(jax.random.normal)(batch.keys)

    def loss_fn(params):
        return jnp.mean((batch.data["x"] @ params["w"] - batch.data["y"] + noise) ** 2)

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return apply_gradients(state, grads, {}, OPTIMIZER, axis_name), {"loss": loss}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(ROWS, WIDTH)).astype(np.float32),
        "y": rng.normal(size=ROWS).astype(np.float32),
    }


def start():
    return init_state({"params": {"w": jnp.zeros(WIDTH)}}, OPTIMIZER)


def run(
    folder, data, epochs=6, stop_after=None, step=step, batch_size=6, evaluate=None, planner=None, stop=None
):
    options = LoopOptions("toy", epochs, batch_size, 2, folder / "toy")
    log = MetricsLog(folder / "metrics.jsonl")
    session = Session(jax.local_devices()[:1], log, 0.0, stop or (lambda: False))
    calls = []

    def observe(state):
        calls.append(state)
        if stop_after is not None and len(calls) > stop_after:
            raise KeyboardInterrupt
        return {"norm": float(np.linalg.norm(state.params["w"]))}

    try:
        return loop.fit(
            step, start(), data, options, session, key=jax.random.key(0), evaluate=evaluate or observe,
            planner=planner,
        )  # fmt: skip
    finally:
        log.close()


def quiet(folder):
    return Session(jax.local_devices()[:1], MetricsLog(folder / "m.jsonl"), 1e9)


def test_every_row_is_seen_once_an_epoch(tmp_path):
    def remember(state, batch, *, axis_name):
        seen = state.params["w"].at[batch.data["row"]].add(1)
        return state._replace(params={"w": seen}), {"loss": jnp.zeros(())}

    options = LoopOptions("toy", 3, 10, 3, tmp_path / "toy")
    state = TrainState({"w": jnp.zeros(ROWS)}, {}, ())
    outcome = loop.fit(
        remember, state, {"row": np.arange(ROWS)}, options, quiet(tmp_path), key=jax.random.key(0)
    )
    np.testing.assert_array_equal(outcome.state.params["w"], 3)


def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, data):
    whole = run(tmp_path / "whole", data)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", data, stop_after=4)
    resumed = run(tmp_path / "cut", data)
    for ours, theirs in zip(jax.tree.leaves(resumed.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.curve == whole.curve
    assert len(whole.curve) == 6

    def steps(name):
        text = (tmp_path / name / "metrics.jsonl").read_text()
        import json

        return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in text.splitlines()]

    assert steps("cut") == steps("whole")


@pytest.mark.parametrize("steps", [0, 1, 7, 11, 16])
def test_stopped_run_saves_its_whole_epochs_and_goes_on_bit_for_bit(tmp_path, data, steps):
    """Three steps an epoch, a checkpoint every second one."""
    whole = run(tmp_path / "whole", data)
    asked = iter(range(steps))
    with pytest.raises(Stopped):
        run(tmp_path / "cut", data, stop=lambda: next(asked, None) is None)
    saved = [int(path.name) for path in (tmp_path / "cut" / "toy").iterdir()]
    assert max(saved, default=0) == steps // 3
    resumed = run(tmp_path / "cut", data)
    for ours, theirs in zip(jax.tree.leaves(resumed.state), jax.tree.leaves(whole.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.curve == whole.curve


def test_finished_run_is_returned_without_training(tmp_path, data):
    first = run(tmp_path, data)

    def never(state, batch, *, axis_name):
        raise AssertionError

    again = run(tmp_path, data, step=never)
    np.testing.assert_array_equal(again.state.params["w"], first.state.params["w"])
    assert again.curve == first.curve


def test_half_written_checkpoint_is_ignored(tmp_path, data):
    whole = run(tmp_path / "whole", data)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", data, stop_after=4)
    torn = tmp_path / "cut" / "toy" / "6.orbax-checkpoint-tmp"
    torn.mkdir()
    (torn / "state").write_bytes(b"half")
    resumed = run(tmp_path / "cut", data)
    np.testing.assert_array_equal(resumed.state.params["w"], whole.state.params["w"])
    assert not torn.exists()


def test_first_loss_that_is_not_finite_stops_the_run(tmp_path, data):
    def explode(state, batch, *, axis_name):
        state, metrics = step(state, batch, axis_name=axis_name)
        count = state.opt_state[0].count
        return state, {"loss": jnp.where(count >= 8, jnp.nan, metrics["loss"])}

    with pytest.raises(UserError, match=r"toy: the loss is nan at step 2 of epoch 3.*toy\.lr"):
        run(tmp_path, data, step=explode)
    # Epochs 1 and 2 were finite and their checkpoint is kept.
    assert (tmp_path / "toy" / "2").is_dir()


def test_nothing_is_compiled_after_the_first_epoch(tmp_path, data):
    traces = []

    def counted(state, batch, *, axis_name):
        traces.append(1)
        return step(state, batch, axis_name=axis_name)

    run(tmp_path, data, step=counted)
    assert len(traces) == 1


def test_scan_over_steps_gives_the_same_numbers(tmp_path, data, monkeypatch):
    one = run(tmp_path / "one", data)
    monkeypatch.setattr(dispatch, "steps_per_call", lambda platform, streamed: 2)
    several = run(tmp_path / "several", data)
    np.testing.assert_allclose(several.state.params["w"], one.state.params["w"], atol=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "devices", "words"),
    [(21, 1, "toy.batch_size is 21 with 20 rows"), (0, 1, "between 1 and 20"), (6, 4, "4 devices")],
)
def test_batches_that_do_not_fit_are_refused(batch_size, devices, words):
    with pytest.raises(UserError, match=words):
        loop.steps_per_epoch(ROWS, batch_size, devices, "toy")


def test_planner_chooses_the_rows_and_changes_the_state(tmp_path):
    """Each epoch trains on other rows, in another number of steps, and sees what the planner put in."""

    def step(state, batch, *, axis_name):
        seen = state.params["w"].at[batch.data["row"]].add(batch.info["weight"])
        return state._replace(params={**state.params, "w": seen}), {"loss": state.params["epoch"]}

    def planner(state, epoch, key):
        rows = np.arange(epoch + 1)[:, None]
        state.params["epoch"] = np.float32(epoch)
        return state, Plan(rows, {"weight": np.full(epoch + 1, 10.0**epoch, np.float32)})

    options = LoopOptions("toy", 3, 1, 3, tmp_path / "toy")
    state = TrainState({"w": jnp.zeros(ROWS), "epoch": jnp.float32(-1)}, {}, ())
    data = {"row": np.arange(ROWS)}
    outcome = loop.fit(step, state, data, options, quiet(tmp_path), key=jax.random.key(0), planner=planner)
    np.testing.assert_array_equal(outcome.state.params["w"][:4], [111, 110, 100, 0])
    assert outcome.state.params["epoch"] == 2


def test_epoch_counts_fractions(tmp_path, data):
    seen = []

    def noted(state, batch, *, axis_name):
        jax.debug.callback(lambda epoch: seen.append(float(epoch)), batch.epoch, ordered=True)
        return step(state, batch, axis_name=axis_name)

    run(tmp_path, data, epochs=2, step=noted)
    jax.effects_barrier()
    np.testing.assert_allclose(seen, [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3], rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "lars"])
def test_optimizers_decay_kernels_only(name):
    from ml_collections import ConfigDict

    settings = ConfigDict(
        {
            "optimizer": name,
            "lr": 0.1,
            "weight_decay": 0.5,
            "momentum": 0.9,
            "warmup_epochs": 0.0,
            "epochs": 10,
        }
    )
    optimizer = make_optimizer(settings, learning_rates.cosine(settings))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params, epoch=jnp.float32(0))
    assert float(jnp.max(updates["kernel"])) < 0
    np.testing.assert_array_equal(updates["bias"], 0)


@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_optimizers_decay_everything_where_they_are_told(name):
    from ml_collections import ConfigDict

    settings = ConfigDict({"optimizer": name, "weight_decay": 0.5, "momentum": 0.0, "decay_all": True})
    optimizer = make_optimizer(settings, lambda epoch: 0.1)
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 2.0)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params, epoch=jnp.float32(0))
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5 * 3.0)
    np.testing.assert_allclose(updates["bias"], -0.1 * 0.5 * 2.0)


def test_adam_takes_the_decay_into_the_gradient():
    """As PyTorch's Adam, and Keras's with a regulariser."""
    from ml_collections import ConfigDict

    from tests.coupled.helpers import Adam

    settings = ConfigDict({"optimizer": "adam", "lr": 0.1, "weight_decay": 0.5, "momentum": 0.9})
    optimizer = make_optimizer(settings, lambda epoch: jnp.float32(0.1))
    rng = np.random.default_rng(0)
    weights = {"kernel": rng.normal(size=(3, 4))}
    params, reference = jax.tree.map(jnp.float32, weights), Adam(weights, 0.1, 0.5)
    state = optimizer.init(params)
    for _ in range(3):
        gradient = {"kernel": rng.normal(size=(3, 4))}
        weights = reference.step(weights, gradient)
        updates, state = optimizer.update(
            jax.tree.map(jnp.float32, gradient), state, params, epoch=jnp.float32(0)
        )
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], weights["kernel"], rtol=1e-4, atol=1e-5)


def test_lars_follows_its_definition():
    from ml_collections import ConfigDict

    settings = ConfigDict(
        {
            "optimizer": "lars",
            "lr": 2.0,
            "weight_decay": 0.1,
            "momentum": 0.9,
            "warmup_epochs": 0.0,
            "epochs": 10**6,
        }
    )
    optimizer = make_optimizer(settings, learning_rates.cosine(settings))
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 4))
    params = {"kernel": jnp.asarray(weights, jnp.float32)}
    state, velocity = optimizer.init(params), np.zeros((3, 4))
    for _ in range(3):
        gradient = rng.normal(size=(3, 4))
        decayed = gradient + 0.1 * weights
        trust = 0.001 * np.linalg.norm(weights) / np.linalg.norm(decayed)
        velocity = 0.9 * velocity + 2.0 * trust * decayed
        weights = weights - velocity
        gradients = {"kernel": jnp.asarray(gradient, jnp.float32)}
        updates, state = optimizer.update(gradients, state, params, epoch=jnp.float32(0))
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], weights, rtol=1e-4)


class Fetched:
    """A source that says which rows it was asked for, and when they were waited for."""

    def __init__(self, rows):
        self.rows, self.shape, self.asked, self.waited = rows, rows.shape, 0, 0

    def start(self, index):
        self.asked += 1

        def wait():
            self.waited += 1
            return self.rows[index]

        return wait


def test_rows_from_a_source_train_as_those_in_memory_do(tmp_path, data):
    expected = run(tmp_path / "memory", data)
    source = Fetched(data["x"])
    found = run(tmp_path / "stream", {**data, "x": source})
    jax.tree.map(np.testing.assert_array_equal, found.state, expected.state)
    assert source.asked == source.waited == 6 * (ROWS // 6)


def test_a_stopped_run_has_asked_for_a_few_batches_more_only(tmp_path, data):
    source, calls = Fetched(data["x"]), []
    with pytest.raises(Stopped):
        run(tmp_path, {**data, "x": source}, batch_size=1, stop=lambda: calls.append(1) or len(calls) > 5)
    assert source.waited == 5 < source.asked < 12
