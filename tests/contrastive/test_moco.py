"""MoCo-v2 against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from dmlp_jax.config import default_config
from dmlp_jax.contrastive import moco
from dmlp_jax.errors import UserError
from dmlp_jax.training import contrast
from dmlp_jax.training.dispatch import Batch

ROWS, SIDE = 8, 8


def settings(**changes):
    pretrain = default_config().pretrain
    pretrain.update(
        method="moco", model="small_cnn", batch_size=ROWS, queue=3 * ROWS, norm_groups=2, key_momentum=0.9,
        projection_dim=16, optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup_epochs=0.0, lr=0.1,
        augment="none", temperature=0.2,
    )  # fmt: skip
    pretrain.update(changes)
    return ConfigDict(pretrain)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def images(seed=0, rows=ROWS):
    return np.random.default_rng(seed).integers(256, size=(rows, SIDE, SIDE, 1)).astype(np.uint8)


def batch_of(data, number=0):
    key = jax.random.fold_in(jax.random.key(5), number)
    keys = jax.random.split(key, len(data))
    return Batch(jnp.asarray(data), keys, key, jnp.arange(len(data)), jnp.float32(0), ())


@functools.cache
def made(**changes):
    """The method, and its first state and its step, compiled."""
    chosen = moco.make(settings(**changes))
    step = jax.jit(lambda state, batch: chosen.step(state, batch, axis_name=None))
    return jax.jit(chosen.init)(jax.random.key(0), images()), step


@functools.partial(jax.jit, static_argnums=3)
def grouped(params, stats, inputs, groups):
    """What the encoder and its head make of the inputs, in groups of their own batch norm."""
    return moco.grouped(settings(), params, stats, inputs, groups, None)[0]


def mean_info_nce(*arguments):
    return jnp.mean(contrast.info_nce(*arguments))


def reference_info_nce(queries, keys, queue, temperature):
    queries = unit(queries)
    logits = np.concatenate([np.sum(queries * keys, axis=1, keepdims=True), queries @ queue.T], axis=1)
    logits /= temperature
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])


def test_info_nce_is_its_formula():
    rng = np.random.default_rng(0)
    queries, keys, queue = (
        rng.normal(size=(5, 6)),
        unit(rng.normal(size=(5, 6))),
        unit(rng.normal(size=(9, 6))),
    )
    found = jax.jit(mean_info_nce)(
        *(jnp.asarray(value, jnp.float32) for value in (queries, keys, queue)), 0.2
    )
    np.testing.assert_allclose(found, reference_info_nce(queries, keys, queue, 0.2), rtol=1e-5)


def test_info_nce_gradient_reaches_queries_only():
    rng = np.random.default_rng(1)
    queries, keys, queue = (jnp.asarray(unit(rng.normal(size=(4, 3))), jnp.float32) for _ in range(3))
    by_query, by_key = jax.jit(jax.grad(mean_info_nce, argnums=(0, 1)))(queries, keys, queue, 0.2)
    assert np.abs(by_query).max() > 0.01
    np.testing.assert_array_equal(by_key, 0)
    shift = 1e-3 * rng.normal(size=(4, 3))
    higher, lower = (
        reference_info_nce(np.float64(queries) + sign * shift, np.float64(keys), np.float64(queue), 0.2)
        for sign in (1, -1)
    )
    np.testing.assert_allclose(np.sum(np.float64(by_query) * shift), (higher - lower) / 2, rtol=1e-3)


def test_step_moves_the_key_encoder_then_queues_its_keys_in_order():
    state, step = made()
    # Encoders that differ, as they do after some steps.
    state = state._replace(key_params=jax.tree.map(lambda leaf: 1.1 * leaf + 0.01, state.key_params))
    batch = batch_of(images())
    after, metrics = step(state, batch)
    moved = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state.key_params, state.network.params)
    for ours, theirs in zip(jax.tree.leaves(after.key_params), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)

    floats = jnp.asarray(batch.data, jnp.float32) / 255
    order = np.asarray(jax.random.permutation(batch.key, ROWS))
    keys = np.empty((ROWS, 16))
    for rows in order.reshape(2, -1):
        keys[rows] = unit(grouped(moved, state.key_stats, floats[rows], 1))
    np.testing.assert_allclose(after.queue.keys[:ROWS], keys, atol=1e-4)
    np.testing.assert_array_equal(after.queue.keys[ROWS:], state.queue.keys[ROWS:])
    assert int(after.queue.place) == ROWS

    queries = np.concatenate(
        [
            grouped(state.network.params, state.network.batch_stats, floats[rows], 1)
            for rows in np.arange(ROWS).reshape(2, -1)
        ]
    )
    expected = reference_info_nce(queries, keys, np.float64(state.queue.keys), 0.2)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_queue_is_a_ring():
    state, step = made()
    queues = [state.queue.keys]
    for number in range(4):
        state, _ = step(state, batch_of(images(number), number))
        queues.append(state.queue.keys)
    assert int(state.queue.place) == ROWS
    for number, block in ((0, 0), (1, 1), (2, 2), (3, 0)):
        rows = slice(block * ROWS, (block + 1) * ROWS)
        assert not np.array_equal(queues[number][rows], queues[number + 1][rows])
        others = np.delete(np.arange(3 * ROWS), np.r_[rows])
        np.testing.assert_array_equal(queues[number][others], queues[number + 1][others])
    np.testing.assert_allclose(np.linalg.norm(state.queue.keys, axis=1), 1, atol=1e-5)


def test_norm_groups_see_other_rows_for_keys_than_for_queries():
    """With equal encoders and no augmentation, keys differ from queries by their groups alone."""
    state, step = made(key_momentum=1.0)
    batch = batch_of(images())
    after, _ = step(state, batch)
    floats = jnp.asarray(batch.data, jnp.float32) / 255
    queries = grouped(state.key_params, state.key_stats, floats, 2)
    assert np.abs(np.asarray(after.queue.keys[:ROWS]) - unit(queries)).max() > 1e-3
    _, whole = made(key_momentum=1.0, norm_groups=1)
    after, _ = whole(state, batch)
    queries = grouped(state.key_params, state.key_stats, floats, 1)
    np.testing.assert_allclose(after.queue.keys[:ROWS], unit(queries), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"queue": 20}, "multiple of pretrain.batch_size"), ({"norm_groups": 3}, "norm_groups"),
     ({"norm_groups": 8}, "norm_groups")],
)  # fmt: skip
def test_impossible_sizes_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        moco.make(settings(**changes))
