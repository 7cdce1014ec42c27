import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from dmlp_jax.purifier.rows import chunks as rows
from dmlp_jax.purifier.rows import loading, scaling
from dmlp_jax.purifier.rows.disk import Reader, is_on_disk, limited_chunk_rows

N, D, C = 37, 6, 3


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    features = (5 + rng.normal(size=(N, D))).astype(np.float32)
    return features, rng.integers(C, size=N).astype(np.int32), rng.random(N).astype(np.float32)


def moments(chunk):
    weighted = chunk.weight[:, None] * chunk.features
    return {"gram": weighted.T @ chunk.features, "counts": weighted.T @ chunk.given}


def by_hand(features, given, weight):
    mean = np.average(features.astype(np.float64), axis=0, weights=weight)
    standard = np.asarray(scaling.center_and_normalize(jnp.asarray(features), jnp.asarray(mean, jnp.float32)))
    weighted = weight[:, None] * standard
    return mean, standard, {"gram": weighted.T @ standard, "counts": weighted.T @ np.eye(C)[given]}


def check(train, arrays):
    mean, standard, sums = by_hand(*arrays)
    np.testing.assert_allclose(train.mean, mean, rtol=1e-5)
    found = jax.jit(lambda: rows.sum_over(moments, train))()
    for name, expected in sums.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-3)
    kept = jax.jit(lambda: rows.map_over(lambda chunk: (chunk.features, chunk.given), train))()
    np.testing.assert_allclose(kept[0][:N], standard, atol=1e-4)
    np.testing.assert_array_equal(kept[1][:N], np.eye(C)[arrays[1]])


@pytest.mark.parametrize(("entries", "chunks"), [(1000, 1), (60, 4), (1, N)])
def test_chunks_in_memory(arrays, entries, chunks, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK_ENTRIES_CPU", entries)
    monkeypatch.setattr(rows, "LEAST_ROWS", 1)
    train = loading.load(*map(jnp.asarray, arrays), C, entries_per_row=6)
    assert train.weight.shape[0] == chunks
    check(train, arrays)


def test_many_classes_leave_rows_in_a_chunk():
    assert rows.chunk_rows(50_000, entries_per_row=16 * 1000) >= 200
    assert rows.chunk_rows(100, entries_per_row=16 * 1000) == 100


def of_chunks():
    """Types and sizes; only one of a pair is unusual where the test is to be quick."""
    for dtype in ("<f4", "<f2", ">f2", "<f8", "<i2"):
        for size in (1, 8, N, 100):
            quick = dtype == "<f4" or size == 8
            yield pytest.param(dtype, size, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("dtype", "size"), list(of_chunks()))
def test_chunks_from_disk(arrays, size, dtype, tmp_path):
    features, given, weight = arrays
    features = (4 * features).astype(dtype)
    arrays = features.astype(np.float32), given, weight
    np.save(tmp_path / "features.npy", features)
    size = limited_chunk_rows(features.shape, size)
    reader = Reader(features.shape, size, features.dtype, np.load(tmp_path / "features.npy", mmap_mode="r"))
    train = loading.load(reader, jnp.asarray(given), jnp.asarray(weight), C, 6)
    assert train.features is None
    check(train, arrays)


def test_distributions_are_kept(arrays):
    features, given, weight = arrays
    soft = 0.5 * np.eye(C, dtype=np.float32)[given] + 0.5 / C
    train = loading.load(jnp.asarray(features), jnp.asarray(soft), jnp.asarray(weight), C, 6)
    np.testing.assert_allclose(rows.map_over(lambda chunk: chunk.given, train)[:N], soft)


def test_padding_of_distributions_is_a_distribution(arrays, monkeypatch):
    """A posterior over nothing would be 0 / 0, and its weight of 0 does not undo that."""
    monkeypatch.setattr(rows, "CHUNK_ENTRIES_CPU", 60)
    monkeypatch.setattr(rows, "LEAST_ROWS", 1)
    features, given, weight = arrays
    soft = np.eye(C, dtype=np.float32)[given]
    train = loading.load(jnp.asarray(features), jnp.asarray(soft), jnp.asarray(weight), C, 6)
    padded = rows.map_over(lambda chunk: chunk.given, train)
    assert len(padded) > N
    np.testing.assert_allclose(padded.sum(axis=1), 1, rtol=1e-6)


def test_reader_reads_chunks_in_any_order(arrays):
    reader = Reader(arrays[0].shape, 10, arrays[0].dtype, arrays[0])
    assert reader.chunks == 4
    for index in (0, 1, 3, 0, 2, 2):
        found = reader._next(index)
        assert found.shape == (10, D)
        expected = arrays[0][10 * index : 10 * index + 10]
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert not found[len(expected) :].any()


def test_what_is_on_disk(arrays, tmp_path):
    class Dataset:
        """What h5py and zarr look like."""

        shape, dtype = (3, 2), np.dtype(np.float32)

        def __getitem__(self, rows):
            return np.zeros((3, 2), np.float32)[rows]

    np.save(tmp_path / "features.npy", arrays[0])
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert is_on_disk(mapped)
    assert is_on_disk(Dataset())
    assert not is_on_disk(scipy.sparse.eye(3))
    for loaded in (np.asarray(mapped), arrays[0], jnp.asarray(arrays[0]), [[1.0, 2.0]], 3.0):
        assert not is_on_disk(loaded)
