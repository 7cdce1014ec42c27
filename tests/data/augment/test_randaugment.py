"""RandAugment's operations against Pillow's, and what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from dmlp_jax.data import augment
from dmlp_jax.data.augment import randaugment

LEVELS = [1, 4, 9]
SIGNED = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
apply = jax.jit(jax.vmap(randaugment.apply, in_axes=(None, None, 0)))


def smooth_images(side=32, channels=3):
    """Images that are neither noise nor flat: waves, a few levels only, a dark one, one of a single level."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    images = []
    for _ in range(4):
        a, b, c = rng.uniform(2, 12, (3, channels))
        waves = 0.5 + 0.5 * np.sin(a * x[..., None] + b * y[..., None] + c)
        images.append(255 * waves)
    images[1] = 40 * np.round(images[1] / 40)
    images[2] = images[2] / 3
    images.append(np.full((side, side, channels), 77.0))
    images.append(255 * rng.random((side, side, channels)))
    return np.round(np.clip(images, 0, 255)).astype(np.uint8)


def pillow(name, level, image):
    """The operation as the paper's ranges and Pillow define it."""
    w, h = image.size
    moves = {
        "shear_x": (1, 0.03 * level, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.03 * level, 1, 0),
        "translate_x": (1, 0, int(0.03 * level * w), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, int(0.03 * level * h)),
    }
    if name in moves:
        return image.transform(image.size, Image.Transform.AFFINE, moves[name])
    enhance = {
        "brightness": ImageEnhance.Brightness, "color": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast, "sharpness": ImageEnhance.Sharpness,
    }  # fmt: skip
    if name in enhance:
        return enhance[name](image).enhance(0.05 + 0.09 * level)
    return {
        "identity": lambda: image,
        "rotate": lambda: image.rotate(3 * level),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, int(0.4 * level) + 4),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(25.6 * level)),
    }[name]()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", randaugment.OPS)
def test_operations_are_pillows(name, channels):
    images = smooth_images(channels=channels)
    for level in [*LEVELS, *(-level for level in LEVELS if name in SIGNED)]:
        found = np.asarray(apply(randaugment.OPS.index(name), float(level), jnp.float32(images)))
        np.testing.assert_array_equal(found, np.round(found))
        oracle = [
            np.asarray(pillow(name, level, Image.fromarray(image.squeeze()))).reshape(image.shape)
            for image in images
        ]
        off = np.abs(found - np.float64(oracle))
        if name in SIGNED:
            # Which pixel is nearest half-way between two is a matter of the last bit; so it is in one row of
            # some shears.
            assert np.mean(off > 0) <= 1 / 32, (level, np.mean(off > 0))
        else:
            assert off.max() <= 1, (level, off.max())
            assert np.mean(off > 0) < 0.01, (level, np.mean(off > 0))


def test_two_operations_are_drawn_alike_each_half_of_the_time():
    """The share of views of a coloured image that are left alone."""
    image = jnp.float32(smooth_images(16)[0] / 255)
    changes = jax.jit(jax.vmap(lambda key: jnp.max(jnp.abs(randaugment.random_ops(key, image) - image))))
    changed = float(jnp.mean(changes(jax.random.split(jax.random.key(0), 800)) > 2 / 255))
    # Identity, and what hardly changes this image.
    images = 255 * image[None]
    apart = [np.abs(apply(op, 5.0, images) - images).max() for op in range(len(randaugment.OPS))]
    idle = sum(difference <= 2 for difference in apart)
    assert 1 <= idle <= 3
    assert abs(changed - (1 - (1 - 0.5 * (1 - idle / 14)) ** 2)) < 0.06


def test_levels_are_one_to_nine_and_geometry_goes_both_ways(monkeypatch):
    traced = []

    def noted(op, level, image):
        traced.append((op, level))
        return image

    def drawn(key):
        randaugment.random_ops(key, jnp.zeros((2, 2, 1)))
        return traced

    monkeypatch.setattr(randaugment, "apply", noted)
    found = jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(1), 100))
    seen = [(int(op), float(level)) for ops, levels in found for op, level in zip(ops, levels, strict=True)]
    assert len(seen) == 200
    assert {op for op, _ in seen} == set(range(14))
    assert {abs(level) for _, level in seen} == set(range(1, 10))
    negative = {randaugment.OPS[op] for op, level in seen if level < 0}
    assert negative == set(SIGNED)


def test_operations_that_are_always_applied_have_any_level(monkeypatch):
    monkeypatch.setattr(randaugment, "apply", lambda op, level, image: jnp.abs(level) * jnp.ones_like(image))

    def last_level(key):
        return 255 * randaugment.random_ops(key, jnp.zeros((1, 1, 1)), count=3, always=True)[0, 0, 0]

    levels = np.asarray(jax.jit(jax.vmap(last_level))(jax.random.split(jax.random.key(0), 400)))
    assert len(np.unique(levels)) > 390
    assert 0 <= levels.min() < 0.3
    assert 9.7 < levels.max() <= 10
    assert abs(levels.mean() - 5) < 0.5


def test_promix_s_view_has_a_smaller_grey_square_and_is_shifted(monkeypatch):
    monkeypatch.setattr(randaugment, "random_ops", lambda key, image, count, always: image)
    images = jnp.ones((60, 32, 32, 3))
    views = np.asarray(jax.jit(augment.make("randaugment3"))(jax.random.split(jax.random.key(2), 60), images))
    assert {*np.unique(views)} <= {0.0, np.float32(125 / 255), 1.0}
    cut = np.any(np.isclose(views, 125 / 255), axis=-1)
    sides = np.concatenate([cut.any(axis=1).sum(axis=1), cut.any(axis=2).sum(axis=1)])
    assert sides.max() <= 17
    assert len(np.unique(sides)) > 8
    # Zeros at the border of the view that was shifted.
    assert np.mean(np.any(views == 0, axis=(1, 2, 3))) > 0.8


def test_strong_view_ends_with_a_grey_square_of_half_the_side(monkeypatch):
    monkeypatch.setattr(randaugment, "random_ops", lambda key, image: image)
    images = jnp.ones((40, 32, 32, 3))
    views = np.asarray(jax.jit(augment.make("randaugment"))(jax.random.split(jax.random.key(2), 40), images))
    assert np.all(np.isclose(views, 127 / 255) | (views == 1.0))
    grey = np.all(views != 1.0, axis=-1)
    rows, columns = grey.any(axis=2).sum(axis=1), grey.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(grey.sum(axis=(1, 2)), rows * columns)
    assert rows.max() <= 17
    assert rows.min() >= 8
    assert max(rows) >= 15


def test_weak_view_is_a_window_of_the_mirrored_image():
    image = smooth_images()[0] / np.float32(255)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), "reflect")
    windows = [padded[i : i + 32, j : j + 32] for i in range(9) for j in range(9)]
    windows += [window[:, ::-1] for window in windows]
    policy = jax.jit(augment.make("reflect_flip"))
    views = policy(jax.random.split(jax.random.key(3), 30), jnp.repeat(image[None], 30, axis=0))
    seen = {next(i for i, w in enumerate(windows) if np.array_equal(w, view)) for view in np.asarray(views)}
    assert len(seen) > 15
