import jax
import numpy as np
import pytest

from dmlp_jax.training import inference
from dmlp_jax.training.inference import BATCH, over_rows

DEVICES = jax.local_devices()[:1]


def distances(state, features, labels):
    return abs(features @ state["w"] - labels[:, None])


def problem(rows, seed=0):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(rows, 3)).astype(np.float32), rng.normal(size=rows).astype(np.float32)
    return {"w": rng.normal(size=(3, 2)).astype(np.float32)}, arrays


@pytest.mark.parametrize("rows", [1, 2, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 2 * BATCH + 7])
def test_values_are_those_of_the_direct_call(rows):
    state, arrays = problem(rows)
    found = over_rows(distances, arrays, DEVICES)(state)
    assert isinstance(found, np.ndarray)
    assert found.shape == (rows, 2)
    expected = np.abs(np.float64(arrays[0]) @ np.float64(state["w"]) - np.float64(arrays[1])[:, None])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_state_may_change_between_calls_and_rows_stay():
    (first, arrays), (second, _) = problem(12), problem(12, seed=1)
    evaluate = over_rows(distances, arrays, DEVICES)
    before = evaluate(first)
    np.testing.assert_allclose(evaluate(second), distances(second, *arrays), atol=1e-5)
    np.testing.assert_array_equal(evaluate(first), before)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_arrays(count, monkeypatch):
    monkeypatch.setattr(inference, "BATCH", 4)
    arrays = tuple(np.arange(10 * (index + 1), dtype=np.int32).reshape(10, -1) for index in range(count))
    evaluate = over_rows(
        lambda state, *parts: sum(part.sum(axis=1) for part in parts) * state, arrays, DEVICES
    )
    np.testing.assert_array_equal(evaluate(2), 2 * sum(array.sum(axis=1) for array in arrays))


def test_integers_stay_integers():
    images = np.random.default_rng(0).integers(256, size=(5, 2, 2, 1), dtype=np.uint8)
    seen = []

    def first(state, rows):
        seen.append(rows.dtype)
        return rows[:, 0, 0, 0]

    found = over_rows(first, (images,), DEVICES)(0)
    np.testing.assert_array_equal(found, images[:, 0, 0, 0])
    assert seen == [np.uint8]


def test_full_and_last_batches_share_one_program(monkeypatch):
    monkeypatch.setattr(inference, "BATCH", 4)
    shapes = []

    def noted(state, features, labels):
        shapes.append(features.shape)
        return distances(state, features, labels)

    state, arrays = problem(11)
    evaluate = over_rows(noted, arrays, DEVICES)
    np.testing.assert_allclose(evaluate(state), distances(state, *arrays), atol=1e-5)
    evaluate(problem(11, seed=1)[0])
    assert shapes == [(4, 3)]
