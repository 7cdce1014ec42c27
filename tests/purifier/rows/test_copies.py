"""Training rows that are copies of clean rows, against a count by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.rows import chunks, copies, loading
from dmlp_jax.purifier.rows.disk import Reader

N, D, C = 60, 5, 3


def rows_with_copies(seed=0):
    """Rows, and clean rows: copied twice in the training rows, not at all, equal ones, a row of zeros."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, D)).astype(np.float32)
    clean = rng.normal(size=(7, D)).astype(np.float32)
    clean[3], clean[5] = clean[2], 0
    features[[4, 30]] = clean[0]
    features[17] = clean[2]
    features[[20, 21, 22, 23]] = clean[1]
    features[50] = -0.0
    weight = rng.uniform(0.5, 2, N).astype(np.float32)
    # Weight 0 is no row.
    weight[23] = 0
    return features, clean, weight


def by_hand(features, clean, weight):
    """Weights by a comparison of every pair of rows; the number of copies."""
    same = (features[:, None] == clean).all(axis=2)
    expected = weight.astype(np.float64).copy()
    for row in np.flatnonzero(same.any(axis=1)):
        alike = (features == features[row]).all(axis=1) & (weight > 0)
        expected[row] *= max(0.0, 1 - same[row].sum() / max(alike.sum(), 1))
    return expected, int((same.any(axis=1) & (weight > 0)).sum())


def load(features, clean, weight, **options):
    given = jnp.zeros(len(weight), jnp.int32)
    return loading.load(features, given, jnp.asarray(weight), C, 6, clean=jnp.asarray(clean), **options)


@pytest.mark.parametrize("chunk", [1000, 60, 1])
def test_copies_in_memory(chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES_CPU", chunk)
    monkeypatch.setattr(chunks, "LEAST_ROWS", 1)
    features, clean, weight = rows_with_copies()
    train = load(jnp.asarray(features), clean, weight)
    expected, count = by_hand(features, clean, weight)
    np.testing.assert_allclose(train.weight.reshape(-1)[:N], expected, rtol=1e-6)
    assert int(train.diagnostics["copies"]) == count == 7
    # The mean knows no labels: it keeps all rows.
    np.testing.assert_allclose(train.mean, np.average(features, axis=0, weights=weight), atol=1e-6)


@pytest.mark.parametrize("size", [7, 100])
def test_copies_on_disk_are_found_in_the_pass_that_finds_the_mean(size):
    features, clean, weight = rows_with_copies()
    reader = Reader(features.shape, size, features.dtype, features)
    read, fetch = [], reader.read
    reader.read = lambda index: read.append(index) or fetch(index)
    train = load(reader, clean, weight)
    expected, count = by_hand(features, clean, weight)
    np.testing.assert_allclose(train.weight.reshape(-1)[:N], expected, rtol=1e-6)
    assert int(train.diagnostics["copies"]) == count
    # The reader reads one chunk in advance.
    assert len(read) <= reader.chunks + 1


def test_copies_in_a_batch_of_problems():
    several = [rows_with_copies(seed) for seed in range(3)]
    features, clean, weight = map(np.stack, zip(*several, strict=True))

    def weights(features, clean, weight):
        return load(features, clean, weight).weight.reshape(-1)[:N]

    found = jax.vmap(weights)(*map(jnp.asarray, (features, clean, weight)))
    for one, problem in zip(found, several, strict=True):
        np.testing.assert_allclose(one, by_hand(*problem)[0], rtol=1e-6)


def test_without_copies_weights_stay_as_they_are():
    features, _, weight = rows_with_copies()
    train = load(
        jnp.asarray(features), np.random.default_rng(9).normal(size=(7, D)).astype(np.float32), weight
    )
    np.testing.assert_array_equal(train.weight.reshape(-1)[:N], weight)
    assert int(train.diagnostics["copies"]) == 0


def test_where_all_rows_are_copies_they_count():
    features, _, weight = rows_with_copies()
    train = load(jnp.asarray(features), features, weight)
    np.testing.assert_array_equal(train.weight.reshape(-1)[:N], weight)


def test_equal_clean_rows_are_known_by_the_first_of_them():
    _, clean, _ = rows_with_copies()
    rows = np.concatenate([clean, clean[::-1], clean[-1:]])
    real = np.arange(len(rows)) < 14
    found = jax.jit(copies.firsts)(jnp.asarray(rows), jnp.asarray(real))
    expected = [np.flatnonzero((rows == row).all(axis=1))[0] for row in rows[:14]]
    np.testing.assert_array_equal(found, [*expected, 14])


def test_hashes_tell_rows_apart():
    """Rows that differ in the last bit, in the order of columns or in the sign of one number."""
    rng = np.random.default_rng(0)
    row = rng.normal(size=64).astype(np.float32)
    rows = [row, row[::-1], np.roll(row, 1), np.nextafter(row, np.float32(9))]
    rows += [np.where(np.arange(64) == k, -row, row) for k in range(64)]
    rows += [np.where(np.arange(64) == k, np.nextafter(row, np.float32(9)), row) for k in range(64)]
    rows += list(rng.integers(2, size=(5000, 64)).astype(np.float32))
    found = np.stack(copies.hashes(jnp.asarray(np.stack(rows))), axis=1)
    assert len(np.unique(found, axis=0)) == len(rows)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9])
def test_every_hash_is_found_at_its_first_place(size):
    values = np.sort(np.random.default_rng(size).integers(4, size=size)).astype(np.uint32)
    clean = copies.CleanHashes(jnp.asarray(values // 2), jnp.asarray(values % 2), jnp.zeros(size, jnp.int32))
    wanted = np.arange(5, dtype=np.uint32)
    found = copies.find(clean, jnp.asarray(wanted // 2), jnp.asarray(wanted % 2))
    expected = [np.flatnonzero(values == value)[0] if value in values else size for value in wanted]
    np.testing.assert_array_equal(found, expected)
