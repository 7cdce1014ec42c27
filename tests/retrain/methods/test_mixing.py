import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import mixing
from dmlp_jax.retrain.methods.mixing import Mix

draw = jax.jit(mixing.draw, static_argnums=(1, 2, 4))
# 2 groups of 3 rows.
many = jax.jit(jax.vmap(lambda key, concentration: mixing.draw(key, 2, 3, concentration, None), (0, None)))


@pytest.mark.parametrize("concentration", [0.2, 1.0, 4.0])
def test_share_is_the_larger_part_of_a_beta_draw(concentration):
    keys = jax.random.split(jax.random.key(0), 4000)
    shares = np.float64(many(keys, concentration).share)
    assert shares.min() >= 0.5
    assert shares.max() <= 1.0
    parts = np.random.default_rng(0).beta(concentration, concentration, size=200_000)
    expected = np.maximum(parts, 1 - parts)
    for level in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(shares, level), np.quantile(expected, level), atol=0.015)


def test_partners_are_a_permutation_of_the_rows_of_all_groups():
    mix = draw(jax.random.key(1), 4, 6, 1.0, None)
    assert mix.partners.shape == (4, 6)
    assert mix.share.shape == ()
    np.testing.assert_array_equal(np.sort(mix.partners, axis=None), np.arange(24))


def test_every_row_can_be_the_partner_of_every_row():
    keys = jax.random.split(jax.random.key(2), 4000)
    partners = np.reshape(many(keys, 1.0).partners, (4000, 6))
    counts = np.stack([np.bincount(column, minlength=6) for column in partners.T])
    np.testing.assert_allclose(counts, 4000 / 6, atol=120)


def test_another_key_gives_another_mix():
    first, same, other = (draw(jax.random.key(seed), 4, 6, 1.0, None) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.partners, same.partners)
    assert first.share == same.share
    assert first.share != other.share
    assert (np.asarray(first.partners) != np.asarray(other.partners)).any()


@pytest.mark.parametrize("shape", [(2, 4, 3), (1, 6, 2, 2, 1)])
def test_mixture_is_share_times_row_plus_the_rest_of_its_partner(shape):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=shape).astype(np.float32)
    groups, size = shape[:2]
    partners = rng.permutation(groups * size).reshape(groups, size)
    found = mixing.apply(Mix(jnp.float32(0.7), jnp.asarray(partners)), jnp.asarray(rows), None)
    share = np.float64(np.float32(0.7))
    expected = np.empty(shape)
    for group in range(groups):
        for row in range(size):
            other = divmod(int(partners[group, row]), size)
            expected[group, row] = share * rows[group, row] + (1 - share) * rows[other]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_full_share_changes_nothing():
    rows = jnp.arange(48.0).reshape(4, 6, 2)
    mix = draw(jax.random.key(6), 4, 6, 1.0, None)._replace(share=jnp.float32(1.0))
    np.testing.assert_array_equal(mixing.apply(mix, rows, None), rows)


def test_rows_are_put_into_the_table_where_the_index_says():
    rng = np.random.default_rng(7)
    table, rows = rng.normal(size=(9, 3)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    index = np.array([8, 0, 5, 3])
    found = mixing.put_rows(jnp.asarray(table), jnp.asarray(index), jnp.asarray(rows), None)
    expected = table.copy()
    for place, row in zip(index, rows, strict=True):
        expected[place] = row
    np.testing.assert_array_equal(found, expected)


def test_rows_spread_over_an_axis_mix_and_are_stored_as_on_one_device():
    rng = np.random.default_rng(8)
    rows, table = rng.normal(size=(4, 6, 3)).astype(np.float32), jnp.zeros((20, 3))
    index, key = rng.permutation(20)[:6], jax.random.key(9)

    def on_a_device(rows, index):
        mix = mixing.draw(key, 4, 2, 1.0, "devices")
        return mixing.apply(mix, rows, "devices"), mixing.put_rows(table, index, rows[0], "devices")

    parts = rows.reshape(4, 3, 2, 3).swapaxes(0, 1)
    pieces, tables = jax.jit(jax.vmap(on_a_device, axis_name="devices"))(parts, index.reshape(3, 2))
    whole = mixing.apply(draw(key, 4, 6, 1.0, None), jnp.asarray(rows), None)
    np.testing.assert_allclose(np.swapaxes(pieces, 0, 1).reshape(4, 6, 3), whole, rtol=1e-6, atol=1e-6)
    expected = np.zeros((20, 3))
    expected[index] = rows[0]
    for one in tables:
        np.testing.assert_array_equal(one, expected)


def test_every_row_may_have_a_share_of_its_own():
    rows = np.random.default_rng(0).normal(size=(3, 4, 2, 2))
    mix = jax.jit(lambda key: mixing.draw(key, 3, 4, 0.75, None, per_row=True))(jax.random.key(0))
    share, flat = np.float64(mix.share), rows.reshape(12, 2, 2)
    assert share.shape == (3, 4)
    assert len(np.unique(share)) == 12
    assert 0.5 <= share.min() <= share.max() <= 1
    np.testing.assert_array_equal(np.sort(mix.partners, axis=None), np.arange(12))
    expected = [
        [share[i, j] * rows[i, j] + (1 - share[i, j]) * flat[mix.partners[i, j]] for j in range(4)]
        for i in range(3)
    ]
    np.testing.assert_allclose(mixing.apply(mix, jnp.float32(rows), None), expected, atol=1e-6)


def test_shares_of_rows_do_not_depend_on_the_devices():
    def part(key):
        return mixing.draw(key, 2, 3, 0.75, "batch", per_row=True)

    key = jax.random.key(1)
    whole = jax.jit(lambda key: mixing.draw(key, 2, 6, 0.75, None, per_row=True))(key)
    dealt = jax.jit(jax.vmap(part, axis_name="batch"))(jnp.stack([key, key]))
    for ours, theirs in zip(dealt, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(list(ours), axis=1), theirs)


@pytest.mark.parametrize("used", [[1, 0, 1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1, 0], [0] * 8, [1] * 8])
def test_only_rows_among_those_named_are_mixed_with_each_other(used):
    among = np.array(used, bool).reshape(2, 4)
    chosen = np.flatnonzero(among)
    orders = []
    for seed in range(20):
        mix = mixing.draw(jax.random.key(seed), 2, 4, 1.0, None, among=jnp.asarray(among))
        partners = np.ravel(mix.partners)
        np.testing.assert_array_equal(np.sort(partners[chosen]), chosen)
        others = np.setdiff1d(np.arange(8), chosen)
        np.testing.assert_array_equal(partners[others], others)
        orders.append(tuple(partners[chosen]))
    assert len(set(orders)) > 10 or len(chosen) < 4
