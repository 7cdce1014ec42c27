"""Values far beyond all others: which are, and what becomes of the mean and of the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.purifier.rows import chunks, loading, outliers, scaling
from dmlp_jax.purifier.rows.disk import Reader

N, D, C = 200, 6, 3
HUGE = float(np.finfo(np.float32).max)


def rows(seed=0, count=N):
    return (3 + np.random.default_rng(seed).normal(size=(count, D))).astype(np.float32)


def load(features, weight=None):
    weight = jnp.ones(N) if weight is None else weight
    if isinstance(features, Reader):
        return _load(features, weight)
    return compiled(features, weight)


def _load(features, weight):
    clean = jnp.asarray(rows(1, 20))
    return loading.load(features, jnp.zeros(N, jnp.int32), weight, C, 6, clean=clean)


compiled = jax.jit(_load)


@jax.jit
def bound(features):
    powers = outliers.histogram(features, jnp.ones(N, bool), jnp.zeros(D))
    return outliers.bound(outliers.largest_power(powers))


def spoil(features, where):
    """Rows with outliers, and which values are."""
    bad = np.zeros(features.shape, bool)
    spoilt = features.copy()
    for place, value in where:
        spoilt[place], bad[place] = value, True
    return spoilt, bad


SPOILT = {
    "one cell": [((7, 3), 1e6)],
    "the largest number": [((7, 3), HUGE)],
    "both signs": [((7, 3), HUGE), ((8, 3), HUGE), ((9, 3), -HUGE)],
    "a tenth of the rows": [(np.s_[::10], -999)],
    "a tenth of the rows, huge": [(np.s_[::10], 1e20)],
    "two in one row": [((7, 3), HUGE), ((7, 4), -999)],
}


@pytest.mark.parametrize(
    "on_disk", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in memory", "on disk"]
)
@pytest.mark.parametrize("where", SPOILT.values(), ids=SPOILT)
def test_outliers_count_as_missing(where, on_disk):
    features, bad = spoil(rows(), where)
    weight = np.random.default_rng(2).uniform(0.5, 1, N).astype(np.float32)
    source = Reader(features.shape, 64, features.dtype, features) if on_disk else jnp.asarray(features)
    train = load(source, jnp.asarray(weight))
    expected = np.average(np.where(bad, 0, features), axis=0, weights=weight)
    expected *= weight.sum() / (weight @ ~bad)
    np.testing.assert_allclose(train.mean, expected, rtol=1e-5)
    assert int(train.diagnostics["outlier_values"]) == bad.sum()
    assert int(train.diagnostics["outlier_rows"]) == bad.any(axis=1).sum()
    found = np.asarray(chunks.map_over(lambda chunk: chunk.features, train))[:N, :D]
    assert np.all(found[bad] == 0)
    held = scaling.center_and_normalize(jnp.where(bad, train.mean, features), train.mean)
    np.testing.assert_allclose(found, held[:, :D], atol=1e-5)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "counts", "sparse", "constant", "sign", "units"])
def test_ordinary_rows_have_no_outliers(kind):
    """Heavy tails, rare values, equal rows and columns of different units among them."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = {
            "normal": lambda rng=rng: rng.normal(size=(N, D)),
            "lognormal": lambda rng=rng: np.exp(1.5 * rng.normal(size=(N, D))),
            "counts": lambda rng=rng: rng.poisson(rng.gamma(0.5, 4, size=(N, D))),
            "sparse": lambda rng=rng: rng.normal(size=(N, D)) * (rng.random((N, D)) < 0.05),
            "constant": lambda rng=rng: np.full((N, D), 7.0),
            "sign": lambda rng=rng: rng.choice([-1.0, 1.0], size=(N, D)),
            "units": lambda rng=rng: rng.normal(size=(N, D)) * 10.0 ** np.arange(D),
        }[kind]().astype(np.float32)
        assert np.isinf(bound(features)), seed


def test_without_outliers_the_mean_is_that_of_all_rows():
    features = rows()
    train = load(jnp.asarray(features))
    assert np.isinf(train.bound)
    alone = jnp.einsum("b,bd->d", jnp.ones(N), features, precision="highest") / N
    np.testing.assert_array_equal(train.mean, alone)


def test_rows_of_another_kind_are_no_outliers():
    """More than an eighth of the rows: there is no telling which rows are odd."""
    features = rows()
    features[::5] *= 1e4
    assert np.isinf(load(jnp.asarray(features)).bound)


def test_rows_on_disk_are_read_again_only_for_outliers():
    for features, passes in ((rows(), 1), (spoil(rows(), SPOILT["one cell"])[0], 2)):
        reader = Reader(features.shape, 50, features.dtype, features)
        read, own = [], reader.read
        reader.read = lambda index, own=own, read=read: read.append(index) or own(index)
        jax.block_until_ready(load(reader).mean)
        assert passes * reader.chunks <= len(read) <= passes * reader.chunks + 1


def test_outliers_of_a_batch_are_those_of_its_members():
    several = np.stack([rows(), *(spoil(rows(), where)[0] for where in SPOILT.values())])
    found = jax.vmap(lambda x: load(x).mean)(jnp.asarray(several))
    for mean, features in zip(found, several, strict=True):
        np.testing.assert_allclose(mean, load(jnp.asarray(features)).mean, rtol=1e-6)


def test_clean_rows_of_another_scale_are_no_outliers():
    clean = rows(1, 40)
    mean = jnp.full(D, 3.0)
    for scale in (1.0, 1e3, 1e-3):
        held, count = outliers.mend(jnp.asarray(scale * clean), mean, jnp.inf, jnp.ones(len(clean), bool))
        np.testing.assert_array_equal(held, np.float32(scale) * clean)
        assert int(count) == 0
    spoilt, bad = spoil(clean, [((3, 2), 1e9), ((5, 2), -HUGE)])
    held, count = outliers.mend(jnp.asarray(spoilt), mean, jnp.inf, jnp.ones(len(clean), bool))
    np.testing.assert_array_equal(held, np.where(bad, 3, clean))
    assert int(count) == 2


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_single_row_moves_the_place(count):
    clean = rows(1, count)
    clean[0] = HUGE
    assert np.all(np.abs(outliers.location(jnp.asarray(clean), jnp.ones(len(clean), bool))) < 10)


def test_new_rows_are_held_by_the_bound():
    features = rows()
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(D + 1, C)), jnp.float32)
    train = load(jnp.asarray(spoil(features, SPOILT["one cell"])[0]))
    classifier = scaling.linear_classifier(weights, train.mean)._replace(bound=train.bound)
    spoilt = features.copy()
    spoilt[:, 2] = HUGE
    features[:, 2] = train.mean[2]
    np.testing.assert_allclose(
        scaling.predict(classifier, spoilt), scaling.predict(classifier, features), atol=1e-6
    )


def test_the_pass_over_rows_in_memory_takes_no_copy_of_them(monkeypatch):
    """Neither to find outliers and copies nor, where there are outliers, to find the mean again."""
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES_CPU", 6 * 500)
    shape = (20_000, 64)

    def standardise(features, clean):
        weight = jnp.ones(shape[0])
        return loading.load(features, jnp.zeros(shape[0], jnp.int32), weight, C, 6, clean=clean).features

    shapes = [jax.ShapeDtypeStruct((rows, shape[1]), jnp.float32) for rows in (shape[0], 100)]
    used = jax.jit(standardise).lower(*shapes).compile().memory_analysis()
    assert used.temp_size_in_bytes < 4 * shape[0] * shape[1] / 2
