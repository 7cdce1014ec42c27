import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.training import dispatch, streaming
from dmlp_jax.training.dispatch import STEPS_PER_CALL, Plan, mapped, pieces, shuffled, steps_per_call

DEVICES = jax.local_devices()[:1]
KEY = jax.random.key(3)


def long_plan(steps, size=2):
    rows = np.arange(2 * steps * size).reshape(2, steps, size)
    return Plan({"a": rows[0], "b": rows[1]}, {"weight": np.arange(steps, dtype=np.float32) ** 2})


def test_plan_counts_its_steps():
    assert Plan(np.zeros((5, 3), int)).steps == 5
    assert Plan({"a": np.zeros((4, 3), int), "b": np.zeros((4, 3), int)}, {"weight": np.zeros(4)}).steps == 4
    assert Plan(np.zeros((0, 3), int)).steps == 0


@pytest.mark.parametrize(("rows", "size"), [(20, 6), (20, 5), (7, 7), (5, 1)])
def test_shuffled_plan_shows_rows_at_most_once(rows, size):
    plan = shuffled(rows, size, KEY)
    assert plan.indices.shape == (rows // size, size)
    flat = plan.indices.ravel()
    assert len(set(flat)) == len(flat)
    assert set(flat) <= set(range(rows))
    assert plan.info == ()


def test_shuffled_plan_follows_its_key():
    first, again, other = (shuffled(100, 10, key).indices for key in (KEY, KEY, jax.random.key(4)))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.any(first.ravel() != np.arange(100))


def test_rows_left_over_differ_from_epoch_to_epoch():
    left = [set(range(20)) - set(shuffled(20, 6, jax.random.key(seed)).indices.ravel()) for seed in range(8)]
    assert len({frozenset(rows) for rows in left}) > 1


@pytest.mark.parametrize("steps", [1, 3, STEPS_PER_CALL - 1, STEPS_PER_CALL, STEPS_PER_CALL + 2, 103])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_pieces_are_the_plan_in_calls_of_two_lengths(steps, platform):
    plan = long_plan(steps)
    parts = pieces(plan, 7, KEY, steps_per_call(platform, streamed=False))
    lengths = [len(shared[0]) for _, shared in parts]
    full = 0 if platform == "cpu" else steps // STEPS_PER_CALL
    assert lengths == [STEPS_PER_CALL] * full + [1] * (steps - STEPS_PER_CALL * full)
    for name in ("a", "b"):
        found = np.concatenate([indices[name] for indices, _ in parts])
        np.testing.assert_array_equal(found, plan.indices[name])
    numbers, epochs = (np.concatenate([shared[place] for _, shared in parts]) for place in (0, 1))
    np.testing.assert_array_equal(numbers, np.arange(steps))
    np.testing.assert_allclose(epochs, 7 + np.arange(steps) / steps, rtol=1e-6)
    assert epochs.dtype == np.float32
    weights = np.concatenate([shared[2]["weight"] for _, shared in parts])
    np.testing.assert_array_equal(weights, np.arange(steps) ** 2)
    assert all(shared[3] is KEY for _, shared in parts)


def chosen(data, indices):
    """The rows as `mapped` takes them: numbers, and what has to be fetched for them, here nothing."""
    return indices, streaming.start(streaming.split(data)[1], indices)()


def record(state, batch, *, axis_name):
    """A step that writes down what it was given, in the row of its number."""
    assert axis_name is None
    size = batch.keys.shape[0]
    at = state["step"]
    seen = {
        "rows": batch.data["a"]["row"] * 1000 + batch.data["b"]["row"],
        "numbers": batch.rows["a"] * 1000 + batch.rows["b"],
        "keys": jax.random.key_data(batch.keys),
        "key": jax.random.key_data(batch.key)[None].repeat(size, axis=0),
        "epoch": batch.epoch[None].repeat(size),
        "weight": batch.info["weight"][None].repeat(size),
    }
    written = jax.tree.map(lambda table, row: table.at[at].set(row), state["seen"], seen)
    return {"seen": written, "step": at + 1}, {"loss": batch.info["weight"] + batch.epoch}


def recorded(plan, epoch=2, platform="cpu", key=KEY):
    """What `record` saw of a plan, and its losses."""
    steps, size = plan.indices["a"].shape
    key_data = jax.random.key_data(KEY)
    empty = {
        "rows": jnp.zeros((steps, size), int),
        "numbers": jnp.zeros((steps, size), int),
        "keys": jnp.zeros((steps, size, *key_data.shape), key_data.dtype),
        "key": jnp.zeros((steps, size, *key_data.shape), key_data.dtype),
        "epoch": jnp.zeros((steps, size)),
        "weight": jnp.zeros((steps, size)),
    }
    data = {"row": jnp.arange(2 * steps * size)[::-1]}
    state, losses = {"seen": empty, "step": jnp.int32(0)}, []
    update = mapped(record, DEVICES)
    for indices, shared in pieces(plan, epoch, key, steps_per_call(platform, streamed=False)):
        state, metrics = update(state, data, chosen(data, indices), shared)
        assert metrics["loss"].shape == (len(shared[0]),)
        losses.extend(np.asarray(metrics["loss"]))
    assert state["step"] == steps
    return jax.tree.map(np.asarray, state["seen"]), np.array(losses)


def test_steps_see_their_rows_epoch_and_info():
    plan = long_plan(4, size=3)
    seen, losses = recorded(plan)
    last = plan.indices["b"].max()
    expected = (last - plan.indices["a"]) * 1000 + last - plan.indices["b"]
    np.testing.assert_array_equal(seen["rows"], expected)
    np.testing.assert_array_equal(seen["numbers"], plan.indices["a"] * 1000 + plan.indices["b"])
    np.testing.assert_allclose(seen["epoch"][:, 0], [2, 2.25, 2.5, 2.75])
    np.testing.assert_array_equal(seen["weight"][:, 0], [0, 1, 4, 9])
    np.testing.assert_allclose(losses, [2, 3.25, 6.5, 11.75])


def test_no_key_comes_twice_in_an_epoch():
    seen, _ = recorded(long_plan(4, size=3))
    rows = seen["keys"].reshape(-1, seen["keys"].shape[-1])
    whole = seen["key"][:, 0]
    assert len(np.unique(np.concatenate([rows, whole]), axis=0)) == 4 * 3 + 4


def test_keys_follow_the_place_not_the_row_nor_the_batch_size():
    plan = long_plan(4, size=3)
    turned = Plan(jax.tree.map(lambda rows: rows[::-1], plan.indices), plan.info)
    narrow = Plan(jax.tree.map(lambda rows: rows[:, :2], plan.indices), plan.info)
    seen, other, fewer = (recorded(one)[0] for one in (plan, turned, narrow))
    np.testing.assert_array_equal(seen["keys"], other["keys"])
    np.testing.assert_array_equal(seen["keys"][:, :2], fewer["keys"])
    np.testing.assert_array_equal(seen["key"][:, :2], fewer["key"])
    assert np.all(seen["keys"] != recorded(plan, key=jax.random.key(4))[0]["keys"])


def test_several_steps_a_call_see_what_single_steps_see(monkeypatch):
    monkeypatch.setattr(dispatch, "STEPS_PER_CALL", 3)
    plan = long_plan(8, size=2)
    one, several = recorded(plan), recorded(plan, platform="gpu")
    jax.tree.map(np.testing.assert_array_equal, one, several)


def test_single_steps_of_plans_of_any_length_are_compiled_once():
    traces = []

    def counted(state, batch, *, axis_name):
        traces.append(1)
        return state + jnp.sum(batch.data), {"loss": state}

    update = mapped(counted, DEVICES)
    state, data = jnp.float32(0), jnp.arange(12.0)
    for epoch, steps in enumerate((2, 3, 1)):
        plan = Plan(np.arange(4 * steps).reshape(steps, 4))
        for indices, shared in pieces(plan, epoch, KEY, 1):
            state, _ = update(state, data, chosen(data, indices), shared)
    assert len(traces) == 1
    assert state == sum(sum(range(4 * steps)) for steps in (2, 3, 1))
