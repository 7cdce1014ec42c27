"""The contrastive loss against its definition, one anchor at a time, and the ring of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.training import contrast

supervised = jax.jit(contrast.supervised)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def case(seed=0, anchors=6, keys=9):
    """Anchors, keys, weights of positives and which keys are candidates; one anchor has no positive."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=(anchors, keys)) * (rng.random((anchors, keys)) < 0.5)
    weights[2] = 0
    return (
        unit(rng.normal(size=(anchors, 4))),
        unit(rng.normal(size=(keys, 4))),
        weights,
        rng.random((anchors, keys)) < 0.8,
    )


def reference(anchors, keys, weights, candidates, temperature):
    found = []
    for anchor, weight, among in zip(anchors, weights, candidates, strict=True):
        scores = keys @ anchor / temperature
        total = np.log(np.exp(scores[among]).sum())
        weight = np.where(among, weight, 0)
        found.append(weight @ (total - scores) / weight.sum() if weight.sum() else 0.0)
    return np.array(found)


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_loss_is_its_definition(temperature):
    values = case()
    found = supervised(*(jnp.asarray(value) for value in values), temperature)
    np.testing.assert_allclose(found, reference(*values, temperature), rtol=2e-5)
    assert found[2] == 0


def test_gradient_is_the_finite_difference():
    anchors, keys, weights, candidates = case(1)

    def loss(anchors, keys):
        return jnp.sum(contrast.supervised(anchors, keys, jnp.asarray(weights), jnp.asarray(candidates), 0.2))

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.float32(anchors), jnp.float32(keys))
    rng = np.random.default_rng(2)
    for place, value in enumerate((anchors, keys)):
        direction = rng.normal(size=value.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [anchors, keys]
            moved[place] = value + step * direction
            ends.append(reference(*moved, weights, candidates, 0.2).sum())
        slope = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(np.sum(np.asarray(slopes[place]) * direction), slope, rtol=1e-3)


def test_anchor_without_candidates_has_no_loss_and_no_gradient():
    anchors, keys, weights, candidates = (jnp.asarray(value, jnp.float32) for value in case(3))
    value, slopes = jax.value_and_grad(
        lambda rows: jnp.sum(contrast.supervised(rows, keys, weights, jnp.zeros(candidates.shape, bool), 0.1))
    )(anchors)
    assert value == 0
    np.testing.assert_array_equal(slopes, np.zeros(anchors.shape))


def test_queue_is_a_ring_that_goes_round_within_a_batch():
    queue = contrast.Queue(jnp.zeros((5, 2)), {"label": -jnp.ones(5, int)}, jnp.int32(0))
    for first in (0, 3, 6):
        rows = jnp.arange(first, first + 3)
        queue = contrast.push(queue, jnp.stack([rows, -rows], axis=1) * 1.0, {"label": rows})
    np.testing.assert_array_equal(queue.info["label"], [5, 6, 7, 8, 4])
    np.testing.assert_array_equal(queue.keys[:, 1], [-5, -6, -7, -8, -4])
    assert queue.place == 4


def test_unit_rows_have_length_one_and_a_finite_gradient_at_zero():
    rows = jnp.asarray([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(contrast.unit_rows(rows), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(contrast.unit_rows(x)))(rows)).all()
