"""Draws the masks of FMix (Harris et al. 2020), by which two images are mixed in connected areas."""

import jax
import jax.numpy as jnp


def draw(key: jax.Array, height: int, width: int, decay: float = 3.0) -> tuple[jax.Array, jax.Array]:
    """A share uniform in [0, 1] and a mask [height, width] of ones, about that share, and zeros.

    The ones are where a random image of low frequencies is largest. Its Fourier coefficients are Gaussian and
    fall with the frequency f as 1 / f^decay. Real and imaginary parts of all are drawn, as in the paper; the
    authors' code takes two rows of the coefficients for the parts. The number of ones is rounded up or down
    at random.

    Args:
        key: typed PRNG key.
        height: rows of the image.
        width: columns of the image.
        decay: exponent; 3 in the paper.
    """
    share_key, image_key, round_key = jax.random.split(key, 3)
    share = jax.random.uniform(share_key)
    down, right = jnp.fft.fftfreq(height)[:, None], jnp.fft.rfftfreq(width)[None, :]
    frequency = jnp.maximum(jnp.sqrt(down**2 + right**2), 1.0 / max(height, width))
    parts = jax.random.normal(image_key, (2, *frequency.shape)) / frequency**decay
    image = jnp.fft.irfft2(jax.lax.complex(parts[0], parts[1]), (height, width))
    return share, binary(image, share, jax.random.bernoulli(round_key))


def binary(image: jax.Array, share: jax.Array, up: jax.Array) -> jax.Array:
    """Ones at the largest values of an image [h, w], zeros elsewhere, float32.

    Args:
        image: [h, w].
        share: share of ones, in [0, 1].
        up: whether their number is rounded up, else down.
    """
    flat = image.reshape(-1)
    count = share * flat.size
    rank = jnp.argsort(jnp.argsort(-flat))
    ones = rank < jnp.where(up, jnp.ceil(count), jnp.floor(count))
    return ones.astype(jnp.float32).reshape(image.shape)
