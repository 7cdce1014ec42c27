"""AugMix: mixtures of chains of operations, and the levels of its operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.data import augment
from dmlp_jax.data.augment import augmix, randaugment
from tests.data.augment.test_randaugment import smooth_images

OPS = randaugment.OPS


@pytest.mark.parametrize("level", [0.1, 0.55, 1.0])
@pytest.mark.parametrize("name", OPS)
def test_levels_are_those_of_augmix(name, level):
    found = float(augmix.scaled(jnp.int32(OPS.index(name)), jnp.float32(level)))
    if name in ("brightness", "color", "contrast", "sharpness"):
        assert 0.05 + 0.09 * found == pytest.approx(level * 1.8 / 10 + 0.1, abs=1e-5)
    elif name.startswith("translate"):
        assert int(0.03 * 32 * found + 1e-6) == int(level * (32 / 3) / 10)
    else:
        assert found == pytest.approx(level)


def test_image_is_mixed_with_a_mixture_of_three_chains(monkeypatch):
    """Chains replaced by constants: the result lies between the image and their mean."""
    seen = []

    def chain(key, image):
        seen.append(key)
        return jnp.full_like(image, 0.9)

    monkeypatch.setattr(augmix, "_chain", chain)
    image = jnp.full((4, 4, 3), 0.1)
    shares = [
        float(np.unique((augmix.random_mix(jax.random.key(seed), image) - 0.1) / 0.8)[0])
        for seed in range(40)
    ]
    assert len(seen) == 40  # traced under vmap, once for all three
    assert min(shares) < 0.15
    assert max(shares) > 0.85
    assert all(0 <= share <= 1 for share in shares)


def test_views_are_random_images_in_range_that_keep_their_shape():
    images = jnp.asarray(smooth_images()[:3], jnp.float32) / 255
    policy = jax.jit(augment.make("augmix"))
    first = np.asarray(policy(jax.random.split(jax.random.key(0), 3), images))
    again = np.asarray(policy(jax.random.split(jax.random.key(0), 3), images))
    other = np.asarray(policy(jax.random.split(jax.random.key(1), 3), images))
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).reshape(3, -1).max(axis=1).min() > 0.05
