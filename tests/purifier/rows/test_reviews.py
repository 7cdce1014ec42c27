import numpy as np

from dmlp_jax.purifier.rows import reviews


def test_unknown_labels_say_nothing_and_rows_are_random_by_default():
    found = reviews.make(np.array([2, -1, 0]), None, 3)
    np.testing.assert_array_equal(found.given, [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(found.known, [1, 0, 1])
    np.testing.assert_array_equal(found.random, [1, 1, 1])
    picked = reviews.make(np.array([2, -1, 0]), np.array([True, False, False]), 3)
    np.testing.assert_array_equal(picked.random, [1, 0, 0])
