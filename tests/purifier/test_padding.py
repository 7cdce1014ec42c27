"""Filled up or not: the same results, and fewer programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier import compiled, padding
from dmlp_jax.purifier.base import scores, temperature
from dmlp_jax.purifier.rows import clean_set, copies, outliers
from tests.conftest import make_blobs

SHORT = PurifyConfig(steps=12, race_steps=8)


def test_sizes_are_few_and_at_most_an_eighth_more():
    assert [padding.size(count) for count in (1, 32, 33, 300, 1990, 2000, 2010, 2048, 2049)] == [
        *(32, 32, 64, 320, 2048, 2048, 2048, 2048, 2304)
    ]
    counts = np.arange(300, 50_000)
    found = np.array([padding.size(int(count)) for count in counts])
    assert np.all((found >= counts) & (found <= 1.125 * counts))
    assert len(set(found)) < 70
    np.testing.assert_array_equal([padding.size(int(size)) for size in set(found)], list(set(found)))


def test_a_few_hundred_clean_rows_have_powers_of_two():
    assert [padding.clean_size(count) for count in (1, 32, 33, 170, 200, 204, 256, 257, 512, 513)] == [
        *(32, 32, 64, 256, 256, 256, 256, 512, 512, 576)
    ]


def unfilled(monkeypatch, *arguments, **keywords):
    """`purify` on as many rows as there are."""
    with monkeypatch.context() as patch:
        for name in ("size", "clean_size"):
            patch.setattr(padding, name, lambda count: count)
        return purify(*arguments, **keywords)


def problem(rows, seed=0):
    """Blobs with copies of clean rows, and with outliers in a training row and a clean row."""
    features, given, (clean, val_labels), _ = make_blobs(seed)
    features, given, clean = features[:rows].copy(), given[:rows], clean.copy()
    features[3], features[7], features[11, 2], clean[5, 1] = clean[-1], clean[2], 1e25, -1e30
    return features, given, (clean, val_labels)


@pytest.mark.parametrize("kind", ["plain", "weights", "distributions", "label history"])
def test_results_are_those_of_the_rows_alone(monkeypatch, kind):
    features, given, val = problem(290)
    rng, config, keywords = np.random.default_rng(0), SHORT, {}
    if kind == "weights":
        keywords = {"sample_weight": rng.uniform(0, 2, 290), "val_random": rng.random(30) < 0.7}
    elif kind == "distributions":
        given = (0.7 * np.eye(3)[given] + 0.1).astype(np.float32)
    elif kind == "label history":
        config = PurifyConfig(steps=12, race_steps=8, keep_label_history=True)
    found = purify(features, given, val, config=config, **keywords)
    expected = unfilled(monkeypatch, features, given, val, config=config, **keywords)
    compare(found, expected, 1e-5)


def compare(found, expected, atol):
    np.testing.assert_array_equal(found.labels, expected.labels)
    for (path, one), other in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype), path
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=atol, err_msg=str(path))


def test_reviewed_rows_may_be_filled_up(monkeypatch):
    features, given, val = problem(290)
    reviewed = np.where(np.arange(30) % 4 == 0, -1, given[:30])
    found = purify(features, given, val, val_given_labels=reviewed, config=SHORT)
    expected = unfilled(monkeypatch, features, given, val, val_given_labels=reviewed, config=SHORT)
    # Ridge regression on kernel features makes rounding errors larger.
    compare(found, expected, 2e-4)


def test_rows_on_disk_may_be_filled_up(monkeypatch, tmp_path):
    features, given, val = problem(290)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    compare(
        purify(mapped, given, val, config=SHORT),
        unfilled(monkeypatch, features, given, val, config=SHORT),
        1e-4,
    )


def test_other_numbers_of_rows_take_the_same_program(own_programs):
    features, given, (clean, val_labels) = problem(300)
    for rows, clean_rows in ((300, 30), (291, 30), (295, 24)):
        found = purify(
            features[:rows], given[:rows], (clean[:clean_rows], val_labels[:clean_rows]), config=SHORT
        )
        assert found.labels.shape == (rows,)
        assert found.diagnostics["doubtful_clean_rows"].shape == (clean_rows,)
    weight = jnp.ones(292)
    purify(jnp.asarray(features[:292]), given[:292], (clean, val_labels), sample_weight=weight, config=SHORT)
    assert compiled._program.cache_info().currsize == 1


def test_rows_that_a_reviewer_picked_take_the_same_program(own_programs):
    features, given, (clean, val_labels) = problem(300)
    for rows, clean_rows, picked in ((300, 30, None), (296, 28, np.arange(28) < 20)):
        val = clean[:clean_rows], val_labels[:clean_rows]
        own = {"val_given_labels": val[1], "val_random": picked, "config": SHORT}
        purify(features[:rows], given[:rows], val, **own)
    assert compiled._program.cache_info().currsize == 1


def test_paper_preset_and_traced_rows_are_left_alone(monkeypatch):
    features, given, val = problem(290)
    monkeypatch.setattr(padding, "_fill", None)
    purify(features, given, val, config=PurifyConfig.paper(steps=2))
    jax.eval_shape(lambda x: purify(x, given, val, num_classes=3), features)


def test_many_rows_are_left_alone():
    def run(features, inputs, num_classes):
        raise StopIteration(features.shape, inputs.val_labels.shape)

    rows = padding.MOST_ROWS + 1
    features, labels = np.zeros((rows, 1), np.float32), np.zeros(rows, np.int32)
    inputs = padding.Inputs(labels, None, features[:2], np.arange(2), None, None, SHORT, jax.random.key(0))
    with pytest.raises(StopIteration) as found:
        padding.around(run, features, inputs, 2)
    assert found.value.args == ((rows, 1), (32,))
    with pytest.raises(StopIteration) as found:
        padding.around(run, features, inputs, 10_000)
    assert found.value.args == ((rows, 1), (2,))


@pytest.mark.parametrize("count", [1, 2, 30, 1600, 1630])
def test_folds_are_those_of_the_rows_alone(count):
    labels = np.random.default_rng(count).integers(4, size=count)
    key = jax.random.key(1)
    alone = clean_set.stratified_folds(key, labels, 3)
    filled = clean_set.stratified_folds(key, np.r_[labels, np.full(50, -1)], 3)
    np.testing.assert_array_equal(filled[:count], alone)
    order = clean_set._permutation(key, count + 50, jnp.int32(count))
    np.testing.assert_array_equal(order[:count], jax.random.permutation(key, count))
    np.testing.assert_array_equal(order[count:], np.arange(count, count + 50))


@pytest.mark.parametrize("count", [1, 4, 127, 129, 300])
def test_the_place_amid_clean_rows_is_that_of_the_rows_alone(count):
    rows = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
    some = np.sort(rows[:: -(-count // outliers.MEDIAN_ROWS)], axis=0)
    below, above = some[(len(some) - 1) // 2], some[len(some) // 2]
    filled = jnp.asarray(np.r_[rows, np.full((20, 5), 1e9, np.float32)])
    found = outliers.location(filled, jnp.arange(count + 20) < count)
    np.testing.assert_array_equal(found, np.where(np.abs(below) <= np.abs(above), below, above))


def test_padding_is_no_copy_of_a_clean_row():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    filled = jnp.concatenate([rows, rows[:1], rows[4:], rows[4:]])
    known = copies.of_clean_rows(filled, jnp.arange(8) < 6)
    places = copies.find(known, *copies.hashes(rows))
    np.testing.assert_array_equal(known.rows[places], [2, 1, 1, 1, 1])
    assert int(jnp.sum(known.rows)) == 6


def test_temperatures_and_scores_leave_padding_out():
    rng = np.random.default_rng(0)
    logits, targets = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32), jnp.eye(3)[rng.integers(3, size=20)]
    more_logits = jnp.concatenate([logits, 9.0 * jnp.ones((6, 3))])
    more_targets = jnp.concatenate([targets, jnp.zeros((6, 3))])
    np.testing.assert_allclose(
        temperature.fit_temperature(more_logits, more_targets),
        temperature.fit_temperature(logits, targets),
        rtol=1e-5,
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        scores.score(more_logits, more_targets),
        scores.score(logits, targets),
    )
    np.testing.assert_allclose(
        scores.accuracy(more_logits, more_targets), scores.accuracy(logits, targets), rtol=1e-6
    )
