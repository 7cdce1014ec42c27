"""Augments the colours of one image [h, w, 3], float32 in [0, 1]; vmap for a batch, with a key per image."""

import jax
import jax.numpy as jnp

# Rec. 601 luma, as in torchvision and Pillow.
_LUMA = (0.299, 0.587, 0.114)


def luma(image: jax.Array) -> jax.Array:
    """Luma [..., 1] (perceived brightness, Rec. 601) of an RGB image [..., 3]."""
    return image[..., :1] * _LUMA[0] + image[..., 1:2] * _LUMA[1] + image[..., 2:] * _LUMA[2]


def random_gray(key: jax.Array, image: jax.Array, prob: float) -> jax.Array:
    """Converts to greyscale, kept as three channels, with probability `prob`."""
    return jnp.where(jax.random.bernoulli(key, prob), luma(image) * jnp.ones_like(image), image)


def random_jitter(key: jax.Array, image: jax.Array, strength: float, prob: float = 0.8) -> jax.Array:
    """Random brightness, contrast, saturation and hue with probability `prob` (ColorJitter of torchvision).

    With s = `strength`, factors are uniform in [1 - .8 s, 1 + .8 s], and the hue is rotated by up to .2 s of
    the full circle. The image is clipped to [0, 1] after each operation. The order of the four is fixed: with
    a random order, vmap would compute all four at each of the four positions.
    """
    use_key, *keys = jax.random.split(key, 5)

    def factor(key):
        low = max(0.0, 1 - 0.8 * strength)
        return jax.random.uniform(key, minval=low, maxval=1 + 0.8 * strength)

    jittered = jnp.clip(image * factor(keys[0]), 0.0, 1.0)
    mean = jnp.mean(luma(jittered))
    jittered = jnp.clip(mean + factor(keys[1]) * (jittered - mean), 0.0, 1.0)
    gray = luma(jittered)
    jittered = jnp.clip(gray + factor(keys[2]) * (jittered - gray), 0.0, 1.0)
    turn = jax.random.uniform(keys[3], minval=-0.2 * strength, maxval=0.2 * strength)
    jittered = shift_hue(jittered, turn)
    return jnp.where(jax.random.bernoulli(use_key, prob), jittered, image)


def shift_hue(image: jax.Array, turn: jax.Array | float) -> jax.Array:
    """Rotates the HSV hue of an image [..., 3] by the fraction `turn` of the full circle.

    Computed from hue, value and chroma: each channel is value - chroma * (a trapezoid function of the hue).
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    is_red, is_green = value == red, value == green
    ahead = jnp.where(is_red, green - blue, jnp.where(is_green, blue - red, red - green))
    third = jnp.where(is_red, 0.0, jnp.where(is_green, 2.0, 4.0))
    sector = third + ahead / jnp.where(chroma > 0, chroma, 1.0) + 6.0 * turn

    def channel(offset):
        # Not jnp.mod: it calls fmod for every pixel, which made this the slowest part of the augmentation.
        place = sector + offset
        place = place - 6.0 * jnp.floor(place / 6.0)
        return value - chroma * jnp.clip(jnp.minimum(place, 4.0 - place), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)
