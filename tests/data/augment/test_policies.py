import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from dmlp_jax.data import augment
from dmlp_jax.data.augment import color, geometry
from dmlp_jax.errors import UserError


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).random((16, 8, 8, 3)), jnp.float32)


@pytest.fixture(scope="module")
def policy():
    """The policy of a name and perhaps a side, compiled."""
    return functools.cache(lambda *arguments: jax.jit(augment.make(*arguments)))


# Run as programs: one operation at a time would compile each.
shift_hue = jax.jit(color.shift_hue)
random_jitter = jax.jit(color.random_jitter, static_argnums=2)
random_crop = jax.jit(
    geometry.random_resized_crop, static_argnums=(2, 3), static_argnames=("min_area", "aspect")
)
random_affine = jax.jit(geometry.random_affine)


def keys(seed=0, count=16):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize("name", ["simclr", "affine", "crop_flip"])
def test_views_are_images_of_the_same_kind(images, policy, name):
    views = policy(name)(keys(), images)
    assert views.shape == images.shape
    assert views.dtype == jnp.float32
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1 + 1e-6
    assert np.abs(views - images).max() > 0.1


@pytest.mark.parametrize("name", ["simclr", "affine", "crop_flip"])
def test_a_view_depends_on_its_own_key_only(images, policy, name):
    together = policy(name)(keys(), images)
    some = policy(name)(keys()[3:5], images[3:5])
    np.testing.assert_allclose(some, together[3:5], atol=1e-6)
    assert np.abs(policy(name)(keys(1), images) - together).max() > 0.1


def test_none_changes_nothing(images):
    assert augment.make("none")(keys(), images) is images


def test_unknown_policy_is_refused():
    with pytest.raises(UserError, match="simclr, affine"):
        augment.make("simclar")


def test_bytes_become_floats():
    np.testing.assert_allclose(augment.to_float(jnp.asarray([0, 255], jnp.uint8)), [0, 1])
    np.testing.assert_allclose(augment.to_float(jnp.asarray([3.5], jnp.bfloat16)), [3.5])


@pytest.mark.parametrize("turn", [-0.3, 0.1, 0.5])
def test_hue_is_that_of_colorsys(images, turn):
    found = shift_hue(images[0], turn)
    for pixel, result in zip(images[0].reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
        np.testing.assert_allclose(
            result, colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), atol=1e-5
        )


def test_grey_pixels_have_no_hue():
    grey = jnp.full((2, 2, 3), 0.4)
    np.testing.assert_allclose(shift_hue(grey, 0.3), grey, atol=1e-6)


def test_luma_is_pillows(images):
    pixels = np.asarray(np.round(images[0] * 255), np.uint8)
    oracle = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    np.testing.assert_allclose(255 * color.luma(jnp.asarray(pixels / 255))[..., 0], oracle, atol=1.01)


def test_jitter_without_strength_changes_nothing(images):
    np.testing.assert_allclose(random_jitter(keys()[0], images[0], 0.0), images[0], atol=1e-5)


def test_saturation_and_contrast_follow_pillow(images):
    """Through the public function: with a fixed key the factors are known."""
    key = next(k for k in keys(2, 50) if bool(jax.random.bernoulli(jax.random.split(k, 5)[0], 0.8)))
    strength = 0.5
    factors = [float(jax.random.uniform(k, minval=0.6, maxval=1.4)) for k in jax.random.split(key, 5)[1:4]]
    pixels = np.asarray(np.round(images[1] * 255), np.uint8)
    image = Image.fromarray(pixels)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhance, factor in zip(enhancers, factors, strict=True):
        image = enhance(image).enhance(factor)
    turn = float(jax.random.uniform(jax.random.split(key, 5)[4], minval=-0.1, maxval=0.1))
    oracle = shift_hue(jnp.asarray(np.asarray(image) / 255, jnp.float32), turn)
    found = random_jitter(key, jnp.asarray(pixels / 255, jnp.float32), strength)
    np.testing.assert_allclose(found, oracle, atol=0.02)


def test_flip_and_grey_happen_at_their_rate(images):
    many = keys(3, 400)
    flips = lambda k: jnp.any(geometry.random_flip(k, images[0]) != images[0])  # noqa: E731
    greys = lambda k: jnp.ptp(color.random_gray(k, images[0], 0.2), axis=-1).max() < 1e-6  # noqa: E731
    flipped, grey = jax.jit(lambda ks: (jax.vmap(flips)(ks), jax.vmap(greys)(ks)))(many)
    assert abs(float(flipped.mean()) - 0.5) < 0.1
    assert abs(float(grey.mean()) - 0.2) < 0.08


def test_full_crop_is_the_image(images):
    found = random_crop(keys()[0], images[0], images.shape[1], min_area=1.0, aspect=(1.0, 1.0))
    np.testing.assert_allclose(found, images[0], atol=1e-5)


def test_crop_is_pillows_bilinear_window(images):
    """Enlarging a window, Pillow's bilinear filter and ours are the same away from the window's edge."""
    key = keys(4)[1]
    area_key, _, place_key = jax.random.split(key, 3)
    side = float(jnp.sqrt(jax.random.uniform(area_key, minval=0.3, maxval=1.0)))
    top, left = 32 * np.asarray(jax.random.uniform(place_key, (2,))) * (1 - side)
    plane = np.asarray(np.random.default_rng(1).random((32, 32)), np.float32)
    window = Image.fromarray(plane, mode=None).resize(
        (32, 32), Image.Resampling.BILINEAR, box=(left, top, left + 32 * side, top + 32 * side)
    )
    found = random_crop(key, jnp.asarray(plane)[..., None], 32, 0.3, aspect=(1.0, 1.0))
    np.testing.assert_allclose(found[3:-3, 3:-3, 0], np.asarray(window)[3:-3, 3:-3], atol=1e-3)


def test_shift_is_a_window_of_the_padded_image(images):
    padded = np.pad(np.asarray(images[0]), ((2, 2), (2, 2), (0, 0)))
    windows = [padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    shift = jax.jit(lambda key, image: geometry.random_window(key, image, 8, padding=2))
    seen = set()
    for key in keys(5, 60):
        found = np.asarray(shift(key, images[0]))
        matches = [i for i, window in enumerate(windows) if np.array_equal(window, found)]
        assert matches
        seen.update(matches)
    assert len(seen) > 15


def test_window_larger_than_the_view_is_shrunk_as_pillow_would(images):
    """A crop of the whole image to half its size samples between the pixels' centres."""
    plane = np.asarray(images[0])
    found = random_crop(keys()[0], images[0], 4, min_area=1.0, aspect=(1.0, 1.0))
    np.testing.assert_allclose(found, plane.reshape(4, 2, 4, 2, -1).mean(axis=(1, 3)), atol=1e-5)


@pytest.mark.parametrize("name", ["simclr", "crop_flip", "none"])
def test_views_have_the_side_asked_for(images, name):
    views = jax.jit(augment.make(name, crop_size=5))(keys(), images)
    assert views.shape == (*images.shape[:1], 5, 5, images.shape[3])


def test_crop_flip_cuts_windows_of_the_image_without_padding(images):
    plane = np.asarray(images[0])
    windows = [plane[i : i + 5, j : j + 5] for i in range(4) for j in range(4)]
    windows += [window[:, ::-1] for window in windows]
    found = jax.jit(augment.make("crop_flip", crop_size=5))(
        keys(6, 80), jnp.broadcast_to(images[:1], (80, *images.shape[1:]))
    )
    views = np.asarray(found)
    which = [[i for i, window in enumerate(windows) if np.allclose(view, window)] for view in views]
    assert all(which)
    assert len({matches[0] for matches in which}) > 20


def test_affine_refuses_a_crop():
    with pytest.raises(UserError, match="crop_size"):
        augment.make("affine", crop_size=5)


def test_affine_without_amplitude_is_the_image(images):
    found = random_affine(keys()[0], images[0], degrees=0.0, scale=(1.0, 1.0), shear=0.0, shift=0.0, bend=0.0)
    np.testing.assert_allclose(found, images[0], atol=1e-5)


def test_affine_turns_by_its_angle():
    """The centre of mass of a dot ten pixels from the centre, whatever the interpolation."""
    image = np.zeros((33, 33, 1), np.float32)
    image[16, 26] = 1.0
    for key in keys(6, 5):
        angle = float(jax.random.uniform(jax.random.split(key, 6)[0], minval=-40, maxval=40))
        found = random_affine(
            key, jnp.asarray(image), degrees=40.0, scale=(1.0, 1.0), shear=0.0, shift=0.0, bend=0.0
        )
        mass = np.asarray(found)[..., 0] / float(found.sum())
        centre = [mass.sum(axis=1) @ np.arange(33), mass.sum(axis=0) @ np.arange(33)]
        turn = np.deg2rad(angle)
        np.testing.assert_allclose(centre, [16 + 10 * np.sin(turn), 16 + 10 * np.cos(turn)], atol=0.2)


def test_cutout_blanks_a_square(images):
    ones = jnp.ones((20, 20, 1))
    cutout = jax.jit(lambda key, prob: geometry.random_cutout(key, ones, side=0.3, prob=prob))
    cut = [np.asarray(cutout(k, 1.0))[..., 0] for k in keys(7)]
    for plane in cut:
        rows, columns = np.any(plane == 0, axis=1).sum(), np.any(plane == 0, axis=0).sum()
        assert (plane == 0).sum() == rows * columns
        assert 1 <= max(rows, columns) <= 7
    assert np.all(np.asarray(cutout(keys()[0], 0.0)) == 1)
