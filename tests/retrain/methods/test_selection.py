import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import mixing, selection

RNG = np.random.default_rng(0)


def test_weighted_sum_is_the_mean_of_the_chosen():
    chosen, costs = RNG.random(9) < 0.5, RNG.normal(size=9)
    weights = np.float64(selection.mean_weights(jnp.asarray(chosen), None))
    np.testing.assert_allclose(weights @ costs, costs[chosen].mean(), rtol=1e-6)
    values = RNG.normal(size=(9, 3)).astype(np.float32)
    found = selection.mean_of(values, jnp.asarray(chosen), None)
    np.testing.assert_allclose(found, values[chosen].mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(selection.mean_weights(jnp.zeros(4, bool), None), 0)
    np.testing.assert_array_equal(selection.mean_of(values, jnp.zeros(9, bool), None), 0)


def test_rows_with_a_confident_label_are_chosen_too():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.4, 0.6]])
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]])
    found = selection.confident(jnp.array([False, True, False, False]), targets, probs, 0.9)
    np.testing.assert_array_equal(found, [False, True, True, False])


def agreed(chosen, first, second, threshold, most):
    """Row by row: the surest pairs of predictions, as long as there is room."""
    rows = [
        row
        for row in range(len(chosen))
        if not chosen[row]
        and first[row].argmax() == second[row].argmax()
        and min(first[row].max(), second[row].max()) > threshold
    ]
    rows.sort(key=lambda row: -(first[row].max() + second[row].max()))
    found = np.zeros(len(chosen), bool)
    found[rows[: max(most - chosen.sum(), 0)]] = True
    return found


@pytest.mark.parametrize("fill", [0.0, 0.5, 0.6, 0.9, 1.0])
def test_agreed_rows_fill_the_batch(fill):
    first, second = (RNG.dirichlet(np.full(3, 0.3), size=40) for _ in range(2))
    second[::2] = first[::2] * 0.9 + 0.1 / 3
    chosen = RNG.random(40) < 0.4
    found = selection.agreed(jnp.asarray(chosen), first, second, 0.7, fill, None)
    expected = agreed(chosen, first, second, 0.7, int(fill * 40))
    np.testing.assert_array_equal(found, expected)
    assert not np.any(np.asarray(found) & chosen)


def test_chosen_rows_are_permuted_among_themselves():
    chosen = np.array([1, 0, 1, 1, 0, 1, 0], bool)
    members, seen = np.flatnonzero(chosen), set()
    for key in range(30):
        (partners,) = np.asarray(mixing.draw_partners(jax.random.key(key), jnp.asarray(chosen), None))
        assert sorted(partners[chosen]) == list(members)
        assert set(partners) <= set(members)
        seen.add(tuple(partners[chosen]))
    assert len(seen) > 12
    everyone = np.asarray(mixing.draw_partners(jax.random.key(0), jnp.ones(7, bool), None))
    assert sorted(everyone[0]) == list(range(7))
    nobody = np.asarray(mixing.draw_partners(jax.random.key(0), jnp.zeros(7, bool), None))
    assert nobody.min() >= 0
    assert nobody.max() < 7


def test_masks_take_pixels_of_one_image_or_the_other():
    images = RNG.random((1, 4, 3, 5, 2)).astype(np.float32)
    mask = (RNG.random((3, 5)) < 0.5).astype(np.float32)
    mix = mixing.Mix(jnp.float32(0.5), np.array([[2, 0, 3, 1]]))
    found = np.asarray(mixing.apply_mask(mix, jnp.asarray(mask), images, None))
    for row, partner in enumerate(mix.partners[0]):
        np.testing.assert_array_equal(found[0, row][mask == 1], images[0, row][mask == 1])
        np.testing.assert_array_equal(found[0, row][mask == 0], images[0, partner][mask == 0])
