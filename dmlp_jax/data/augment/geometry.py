"""Geometric augmentation of one image [h, w, channels], float32; vmap gives each image its own key."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def random_flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Left-right flip with probability 1/2."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def random_window(
    key: jax.Array, image: jax.Array, size: int, padding: int = 0, mode: str = "constant"
) -> jax.Array:
    """A square of `size` pixels a side, anywhere in the image padded by a `mode` of jnp.pad."""
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode)
    most = jnp.array(padded.shape[:2]) - size
    top, left = jax.random.randint(key, (2,), 0, most + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), (size, size, image.shape[2]))


def random_resized_crop(
    key: jax.Array,
    image: jax.Array,
    size: int,
    min_area: float,
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> jax.Array:
    """A random window resized to a square, bilinearly (RandomResizedCrop of torchvision).

    Area is uniform in [min_area, 1] of the image, the aspect ratio log-uniform in `aspect`; a side that
    would stick out is cut to the image's, where torchvision draws again.

    Args:
        key: typed PRNG key.
        image: [h, w, channels].
        size: side of the square.
        min_area: smallest area, in (0, 1].
        aspect: smallest and largest ratio of width to height.
    """
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, minval=min_area, maxval=1.0)
    log_aspect = jax.random.uniform(aspect_key, minval=math.log(aspect[0]), maxval=math.log(aspect[1]))
    ratio = jnp.exp(0.5 * log_aspect)
    height = jnp.minimum(jnp.sqrt(area) / ratio, 1.0)
    width = jnp.minimum(jnp.sqrt(area) * ratio, 1.0)
    place = jax.random.uniform(place_key, (2,))
    rows = _window_weights(image.shape[0], size, place[0] * (1 - height), height)
    columns = _window_weights(image.shape[1], size, place[1] * (1 - width), width)
    # Two small matrix products, which accelerators do faster than a gather.
    return jnp.einsum("yh,xw,hwc->yxc", rows, columns, image)


def _window_weights(pixels: int, samples: int, start: jax.Array, length: jax.Array) -> jax.Array:
    """Bilinear interpolation from the pixels of a side to samples of the window, [samples, pixels].

    Args:
        pixels: of the side.
        samples: of the window.
        start: where the window starts, as a share of the side.
        length: its length, as a share of the side.
    """
    centres = (start + length * (jnp.arange(samples) + 0.5) / samples) * pixels - 0.5
    centres = jnp.clip(centres, 0.0, pixels - 1.0)
    return jnp.maximum(1.0 - jnp.abs(centres[:, None] - jnp.arange(pixels)[None, :]), 0.0)


def random_blur(key: jax.Array, image: jax.Array, prob: float) -> jax.Array:
    """Gaussian blur with probability `prob`, sigma uniform in [.1, 2] pixels (Chen et al. 2020, appendix A).

    The kernel is a tenth of the image's height wide, rounded to an odd number; edges are repeated.
    """
    use_key, sigma_key = jax.random.split(key)
    sigma = jax.random.uniform(sigma_key, minval=0.1, maxval=2.0)
    radius = max(1, image.shape[0] // 20)
    places = jnp.arange(-radius, radius + 1)
    weights = jax.nn.softmax(-0.5 * (places / sigma) ** 2)
    blurred = image
    for axis in (0, 1):
        widths = [(radius, radius) if other == axis else (0, 0) for other in range(3)]
        padded = jnp.pad(blurred, widths, mode="edge")
        # Shifted sums: a convolution with another kernel for each image would become a grouped one.
        blurred = sum(
            weight * jax.lax.slice_in_dim(padded, start, start + image.shape[axis], axis=axis)
            for start, weight in enumerate(weights)
        )
    return jnp.where(jax.random.bernoulli(use_key, prob), blurred, image)


def random_affine(
    key: jax.Array,
    image: jax.Array,
    degrees: float,
    scale: tuple[float, float],
    shear: float,
    shift: float,
    bend: float,
) -> jax.Array:
    """Rotation, anisotropic scale, shear, sub-pixel shift and a smooth bend; bilinear, zeros outside.

    Args:
        key: typed PRNG key.
        image: [h, w, channels].
        degrees: rotation within plus or minus this.
        scale: smallest and largest factor, drawn for each axis.
        shear: horizontal shear within plus or minus this.
        shift: within plus or minus this share of the side, for each axis.
        bend: amplitude of the bend as a share of the side: one sine wave along each axis.
    """
    turn_key, scale_key, shear_key, shift_key, bend_key, phase_key = jax.random.split(key, 6)
    angle = jnp.deg2rad(jax.random.uniform(turn_key, minval=-degrees, maxval=degrees))
    factors = jax.random.uniform(scale_key, (2,), minval=scale[0], maxval=scale[1])
    slant = jax.random.uniform(shear_key, minval=-shear, maxval=shear)
    offset = jax.random.uniform(shift_key, (2,), minval=-shift, maxval=shift)
    waves = bend * jax.random.uniform(bend_key, (2,), minval=-1.0)
    phases = 2 * jnp.pi * jax.random.uniform(phase_key, (2,))

    height, width = image.shape[:2]
    y, x = jnp.meshgrid(
        (jnp.arange(height) + 0.5) / height - 0.5,
        (jnp.arange(width) + 0.5) / width - 0.5,
        indexing="ij",
    )
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source_y = (cos * y - sin * x) / factors[0] + offset[0]
    source_x = (sin * y + cos * x) / factors[1] + slant * y + offset[1]
    source_y = source_y + waves[0] * jnp.sin(2 * jnp.pi * x + phases[0])
    source_x = source_x + waves[1] * jnp.sin(2 * jnp.pi * y + phases[1])
    where = [(source_y + 0.5) * height - 0.5, (source_x + 0.5) * width - 0.5]
    sample = jax.vmap(lambda plane: map_coordinates(plane, where, order=1, cval=0.0), in_axes=2, out_axes=2)
    return sample(image)


def random_cutout(key: jax.Array, image: jax.Array, side: float, prob: float, fill: float = 0.0) -> jax.Array:
    """With probability `prob`, `fill` in a square of `side` (a share of the image's) at a random place."""
    use_key, place_key = jax.random.split(key)
    height, width = image.shape[:2]
    centre = jax.random.uniform(place_key, (2,))
    y = jnp.abs((jnp.arange(height) + 0.5) / height - centre[0]) < side / 2
    x = jnp.abs((jnp.arange(width) + 0.5) / width - centre[1]) < side / 2
    hole = jax.random.bernoulli(use_key, prob) & (y[:, None] & x[None, :])
    return jnp.where(hole[..., None], fill, image)
