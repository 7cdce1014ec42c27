"""Augments the geometry of one image [h, w, channels], float32; vmap for a batch, with a key per image."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def random_flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Flips left-right with probability 1/2."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def random_window(
    key: jax.Array, image: jax.Array, size: int, padding: int = 0, mode: str = "constant"
) -> jax.Array:
    """Crops a square of side `size` at a random position, after padding the image.

    Args:
        key: typed PRNG key.
        image: [h, w, channels].
        size: side of the square, in pixels.
        padding: pixels added on every side.
        mode: padding mode of jnp.pad.
    """
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
    """Crops a random window and resizes it bilinearly to a square (RandomResizedCrop of torchvision).

    The window's share of the image's area is uniform in [min_area, 1], its aspect ratio log-uniform in
    `aspect`. A side longer than the image's is shortened to it; torchvision draws again instead.

    Args:
        key: typed PRNG key.
        image: [h, w, channels].
        size: side of the square.
        min_area: smallest share of the image's area, in (0, 1].
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
    # Two small matrix products are faster than a gather on accelerators.
    return jnp.einsum("yh,xw,hwc->yxc", rows, columns, image)


def _window_weights(pixels: int, samples: int, start: jax.Array, length: jax.Array) -> jax.Array:
    """Matrix [samples, pixels] that interpolates a window of one image axis bilinearly.

    Args:
        pixels: number of pixels along the axis.
        samples: number of output samples in the window.
        start: start of the window, as a share of the axis.
        length: length of the window, as a share of the axis.
    """
    centres = (start + length * (jnp.arange(samples) + 0.5) / samples) * pixels - 0.5
    centres = jnp.clip(centres, 0.0, pixels - 1.0)
    return jnp.maximum(1.0 - jnp.abs(centres[:, None] - jnp.arange(pixels)[None, :]), 0.0)


def random_blur(key: jax.Array, image: jax.Array, prob: float) -> jax.Array:
    """Gaussian blur with probability `prob`, sigma uniform in [.1, 2] pixels (Chen et al. 2020, appendix A).

    The kernel's width is a tenth of the image's height, rounded to an odd number. Padding repeats the edges.
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
        # A sum of shifted images: under vmap a convolution with a kernel per image would be a grouped one.
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
    """Rotates, scales each axis, shears, shifts (sub-pixel) and bends; bilinear, zeros outside the image.

    Args:
        key: typed PRNG key.
        image: [h, w, channels].
        degrees: largest rotation in either direction.
        scale: smallest and largest scale factor, drawn independently for each axis.
        shear: largest horizontal shear in either direction.
        shift: largest shift along each axis in either direction, as a share of the side.
        bend: largest amplitude of the bend, one sine wave along each axis, as a share of the side.
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


def random_cutout(
    key: jax.Array, image: jax.Array, side: jax.Array | float, prob: float, fill: float = 0.0
) -> jax.Array:
    """With probability `prob`, sets a square at a random position to `fill` (cutout).

    `side` is the square's side as a share of the image's.
    """
    use_key, place_key = jax.random.split(key)
    height, width = image.shape[:2]
    centre = jax.random.uniform(place_key, (2,))
    y = jnp.abs((jnp.arange(height) + 0.5) / height - centre[0]) < side / 2
    x = jnp.abs((jnp.arange(width) + 0.5) / width - centre[1]) < side / 2
    hole = jax.random.bernoulli(use_key, prob) & (y[:, None] & x[None, :])
    return jnp.where(hole[..., None], fill, image)
