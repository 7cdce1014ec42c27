import numpy as np

from dmlp_jax.data import equal_rows


def test_sets_are_those_of_equal_rows():
    rng = np.random.default_rng(0)
    # More rows than are read at a time, with some equal ones in different chunks.
    rows = rng.integers(0, 3, size=(20_000, 8)).astype(np.float32)
    found = equal_rows.find(rows)
    _, number, size = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    assert len(found.first) == len(size) < 20_000
    # The same sets, numbered otherwise.
    assert len(np.unique(np.stack([found.number, number], axis=1), axis=0)) == len(size)
    np.testing.assert_array_equal(found.size[found.number], size[number])
    np.testing.assert_array_equal(rows[found.first][found.number], rows)
    assert all(found.first[found.number] <= np.arange(len(rows)))


def test_hashes_do_not_depend_on_type_or_sign_of_zero():
    rows = np.array([[0.0, 1.5], [-0.0, 1.5], [0.0, -1.5]])
    hashes = equal_rows.hashes(rows)
    assert hashes[0] == hashes[1] != hashes[2]
    np.testing.assert_array_equal(hashes, equal_rows.hashes(rows.astype(np.float32)))
    # A column that moves to another place makes another row.
    assert equal_rows.hashes(rows[:, ::-1])[0] != hashes[0]
