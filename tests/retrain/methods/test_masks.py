import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.retrain.methods import masks


@pytest.mark.parametrize(("up", "ones"), [(True, 8), (False, 7)])
def test_ones_are_at_the_largest_values(up, ones):
    image = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    found = np.asarray(masks.binary(image, jnp.float32(0.3), jnp.bool_(up)))
    assert found.sum() == ones
    assert image[found == 1].min() > image[found == 0].max()


def test_masks_are_connected_areas_of_any_share():
    draw = jax.jit(jax.vmap(lambda key: masks.draw(key, 16, 24)))
    shares, found = map(np.asarray, draw(jax.random.split(jax.random.key(0), 400)))
    assert found.shape == (400, 16, 24)
    assert set(np.unique(found)) == {0, 1}
    np.testing.assert_allclose(found.mean(axis=(1, 2)), shares, atol=1 / (16 * 24) + 1e-6)
    assert abs(shares.mean() - 0.5) < 0.05
    assert np.percentile(shares, 10) < 0.15
    # Neighbours differ far more rarely than pixels drawn alone, 2 s (1 - s).
    apart = np.abs(np.diff(found, axis=1)).mean(), np.abs(np.diff(found, axis=2)).mean()
    alone = np.mean(2 * shares * (1 - shares))
    assert max(apart) < 0.4 * alone
    assert np.abs(found.mean(axis=0) - 0.5).max() < 0.12


def test_low_frequencies_are_those_of_the_paper(monkeypatch):
    """The image against its Fourier sum, written out."""
    parts = np.random.default_rng(1).normal(size=(2, 4, 4)).astype(np.float32)
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.asarray(parts).reshape(shape))
    images = []
    monkeypatch.setattr(masks, "binary", lambda image, share, up: images.append(image) or image)
    masks.draw(jax.random.key(0), 4, 6)
    down, right = np.array([0, 1, -2, -1]) / 4, np.array([0, 1, 2, 3]) / 6
    expected = np.zeros((4, 6))
    for i, j in np.ndindex(4, 4):
        v, u = down[i], right[j]
        coefficient = complex(*parts[:, i, j]) / max(np.hypot(v, u), 1 / 6) ** 3
        wave = coefficient * np.exp(2j * np.pi * (v * np.arange(4)[:, None] + u * np.arange(6)[None, :]))
        # Columns but the first and the last stand for their conjugates too.
        expected += (wave.real if j in (0, 3) else 2 * wave.real) / 24
    np.testing.assert_allclose(images[0], expected, rtol=1e-3, atol=1e-2)
