"""The rows that the review page lists."""

import numpy as np
import pytest

from dmlp_jax.interop import issues
from dmlp_jax.report import review


def test_order_is_that_of_issues():
    rng = np.random.default_rng(0)
    quality = rng.integers(10, size=50).astype(np.float32) / 10
    probs = rng.dirichlet(np.ones(3), size=50)
    found = issues({"probs": probs, "label_quality": quality}, rng.integers(3, size=50))
    np.testing.assert_array_equal(review.suspicious_rows(quality), found.index)
    np.testing.assert_array_equal(review.suspicious_rows(quality, 7), found.index[:7])


@pytest.mark.parametrize(("rows", "listed"), [(1000, 1000), (1000, 30), (5, 5)])
def test_random_rows_are_listed_once_and_named(rows, listed):
    order = np.random.default_rng(1).permutation(rows)[:listed]
    found, random = review.with_random_rows(order, rows)
    np.testing.assert_array_equal(found[:listed], order)
    assert len(np.unique(found)) == len(found)
    assert len(random) == min(rows, review.SAMPLE)
    # They are the same whichever rows look suspicious.
    others, places = review.with_random_rows(np.arange(listed), rows)
    assert set(found[random]) == set(others[places])
