import jax.numpy as jnp
import numpy as np

from dmlp_jax.purifier.base import masked

VALUES = np.random.default_rng(0).normal(size=9).astype(np.float32)
REAL = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0], np.float32)
KEPT = VALUES[REAL > 0]


def test_statistics_are_those_of_the_real_rows():
    np.testing.assert_allclose(masked.mean(VALUES, REAL), KEPT.mean(), rtol=1e-6)
    np.testing.assert_allclose(masked.mean(jnp.stack([VALUES, -VALUES]), REAL), [KEPT.mean(), -KEPT.mean()],
                               rtol=1e-6)  # fmt: skip
    np.testing.assert_allclose(masked.deviation(VALUES, REAL), KEPT.std(), rtol=1e-6)
    for found, share in zip(
        masked.quantiles(VALUES, REAL, (0.0, 0.5, 0.84, 1.0)), (0, 0.5, 0.84, 1), strict=True
    ):
        np.testing.assert_allclose(found, np.quantile(KEPT, share), rtol=1e-5)


def test_rows_whose_targets_are_all_0_are_padding():
    np.testing.assert_array_equal(
        masked.of_targets(jnp.asarray([[0.0, 1.0], [0.0, 0.0], [0.3, 0.7]])), [1, 0, 1]
    )
