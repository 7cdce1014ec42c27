import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from dmlp_jax.purifier.base import ridge
from dmlp_jax.purifier.reviewed import kernel as kernel_lib
from dmlp_jax.purifier.rows import chunks, clean_set, loading, scaling

C, D = 3, 6


def loaded(rows, seed=0, width=D):
    """Training rows in chunks, and the standardised rows themselves, [n, d + 1]."""
    features = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    labels = jnp.zeros(rows, jnp.int32)
    train = loading.load(
        jnp.asarray(features), labels, jnp.ones(rows), C, 50_000, None, jnp.asarray(features[:5] + 7.0)
    )
    return train, np.asarray(scaling.center_and_normalize(jnp.asarray(features), train.mean), float)


def by_hand(rows, points):
    """The kernel of standardised rows and points, float64."""
    length = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(points, axis=1)
    return (np.exp(rows @ points.T / length) - 1) / (np.e - 1)


def points_of(kernel, rows):
    """The rows that are points of the kernel."""
    points = np.asarray(kernel.points, float)[np.asarray(kernel.used) > 0]
    points *= np.sum(rows[0, :-1] ** 2)
    nearest = np.argmin(np.sum((points[:, None] - rows[None, :, :-1]) ** 2, axis=2), axis=1)
    np.testing.assert_allclose(points, rows[nearest, :-1], atol=1e-5)
    return nearest


@pytest.mark.parametrize(("rows", "most"), [(600, 100), (600, 1000), (7, 1000), (1, 10)])
def test_points_are_rows_from_all_over(rows, most):
    train, standard = loaded(rows)
    kernel = kernel_lib.make(train, rows, most)
    number = max(1, min(most, rows // kernel_lib.ONE_IN))
    chosen = points_of(kernel, standard)
    assert len(set(chosen.tolist())) >= 0.9 * number
    if number > 10:
        assert np.max(np.diff(np.sort(chosen))) <= 2 * rows / number + 1


def test_points_of_rows_in_periods_are_not_all_alike():
    train, standard = loaded(1000)
    chosen = points_of(kernel_lib.make(train, 1000, 100), standard)
    assert len(set((chosen % 10).tolist())) == 10


def test_padding_changes_no_point():
    """Rows of weight 0 after all others are none."""
    train, standard = loaded(600)
    weight = jnp.where(jnp.arange(train.weight.size) < 500, 1.0, 0.0).reshape(train.weight.shape)
    some = kernel_lib.make(dataclasses.replace(train, weight=weight), 600, 1000)
    assert np.max(points_of(some, standard)) < 500
    assert int(np.sum(some.used)) == 500 // kernel_lib.ONE_IN
    assert int(np.sum(kernel_lib.make(train, 600, 1000).used)) == 600 // kernel_lib.ONE_IN


def test_similarities_are_the_kernel_and_a_constant():
    train, rows = loaded(60)
    kernel = kernel_lib.make(train, 60, 20)
    points = rows[points_of(kernel, rows), :-1]
    found = kernel_lib.similarities(kernel, jnp.asarray(rows, jnp.float32))
    used = np.asarray(kernel.used) > 0
    np.testing.assert_allclose(found[:, :-1][:, used], by_hand(rows[:, :-1], points), atol=1e-5)
    np.testing.assert_array_equal(found[:, -1], 1)
    np.testing.assert_allclose(kernel.among[used][:, used], by_hand(points, points), atol=1e-5)


def test_a_row_at_the_mean_is_like_no_other():
    train, _ = loaded(60)
    kernel = kernel_lib.make(train, 60, 20)
    at_mean = jnp.zeros((1, D + 1)).at[0, -1].set(1.0)
    np.testing.assert_array_equal(kernel_lib.similarities(kernel, at_mean)[0, :-1], 0)


def test_ridge_regression_is_that_of_the_kernel():
    """In float64 by the formula, and near kernel ridge regression of scikit-learn."""
    train, rows = loaded(80)
    kernel = kernel_lib.make(train, 80, 1000)
    points = rows[points_of(kernel, rows)]
    similar = kernel_lib.similarities(kernel, jnp.asarray(points, jnp.float32)).at[:, -1].set(0.0)
    gram = ridge.gram(similar, jnp.ones(len(points))).at[-1, -1].set(len(points))
    unmap = kernel_lib.whitening(kernel, gram, 0.05)
    target = np.random.default_rng(1).normal(size=len(points)).astype(np.float32)
    inverse = ridge.inverse(unmap.T @ gram @ unmap, jnp.float32(0.1))
    weights = unmap @ (inverse @ (unmap.T @ (similar.T @ target)))
    found = kernel_lib.similarities(kernel, jnp.asarray(rows, jnp.float32)) @ weights

    among = by_hand(points[:, :-1], points[:, :-1])
    values, vectors = np.linalg.eigh(among)
    # One training row per point and a penalty of 0.05 of them: that is added to the eigenvalues.
    mapped = vectors / np.sqrt(values + 0.05)
    phi = among @ mapped
    solved = np.linalg.solve(phi.T @ phi + 0.1 * np.eye(len(phi)), phi.T @ target)
    wanted = by_hand(rows[:, :-1], points[:, :-1]) @ mapped @ solved
    np.testing.assert_allclose(found, wanted, atol=1e-4)

    exact = KernelRidge(alpha=0.1, kernel="precomputed").fit(among, target)
    by_scikit_learn = by_hand(rows[:, :-1], points[:, :-1]) @ exact.dual_coef_
    assert np.corrcoef(found, by_scikit_learn)[0, 1] > 0.98


@pytest.mark.parametrize("width", [2, 3, 30])
def test_few_columns_leave_the_matrix_positive(width):
    """With two columns the kernel matrix has a dozen eigenvalues beyond rounding."""
    train, _ = loaded(3000, width=width)
    kernel = kernel_lib.make(train, 3000, 1000)

    def product(chunk):
        similar = kernel_lib.similarities(kernel, chunk.features)
        return similar.T @ similar

    gram = chunks.sum_over(product, train)
    unmap = kernel_lib.whitening(kernel, gram, 0.05)
    inner = unmap.T @ gram @ unmap
    penalty = 0.05 * jnp.trace(inner) / 1001
    inverse = ridge.inverse(inner, penalty)
    assert np.all(np.isfinite(inverse))
    assert float(jnp.linalg.eigvalsh(inverse)[0]) > 0
    assert np.linalg.eigvalsh(np.asarray(inner, float))[0] > -0.5 * float(penalty)


def test_without_points_rows_stay_as_they_are():
    train, rows = loaded(60)
    assert kernel_lib.make(train, 60, 0) is None
    rows = jnp.asarray(rows, jnp.float32)
    clean = clean_set.make(rows[:9], jnp.arange(9) % C, C, 2, jax.random.key(0))
    assert kernel_lib.similarities(None, rows) is rows
    assert kernel_lib.clean_rows(None, clean) is clean
    assert kernel_lib.whitening(None, ridge.gram(rows, jnp.ones(60)), 0.3) is None
    assert kernel_lib.dimension(None, clean) == D + 1


def test_clean_rows_are_mapped_in_their_chunks_too():
    train, rows = loaded(60)
    kernel = kernel_lib.make(train, 60, 20)
    clean = clean_set.make(jnp.asarray(rows[:9], jnp.float32), jnp.arange(9) % C, C, 2, jax.random.key(0))
    mapped = kernel_lib.clean_rows(kernel, clean)
    np.testing.assert_allclose(mapped.features, kernel_lib.similarities(kernel, clean.features), atol=1e-6)
    flat = mapped.chunks.features.reshape(-1, mapped.features.shape[1])[:9]
    np.testing.assert_allclose(flat, mapped.features, atol=1e-6)
