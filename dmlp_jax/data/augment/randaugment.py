"""Implements RandAugment (Cubuk et al. 2020) inside jit, with the fourteen operations and ranges of FixMatch.

Operations work on whole-number levels in [0, 255], stored as float32, and match Pillow's results on bytes.
Under vmap a switch over fourteen operations would compute all fourteen for every image. They are therefore
grouped into three: every geometric operation is one affine resampling; brightness, colour, contrast and
sharpness are one blend with a degenerate image; autocontrast, equalise, posterise and solarise are one map
of each channel's levels. All three are computed for every image and one result is selected. On CPU this
takes 40 % of the time of a switch.
"""

import jax
import jax.numpy as jnp

from dmlp_jax.data.augment import color

OPS = (
    "identity",
    "autocontrast", "equalize", "posterize", "solarize",
    "brightness", "color", "contrast", "sharpness",
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
_INDEX = {name: index for index, name in enumerate(OPS)}
# Added before jnp.floor, so that a rounding error just below a whole number does not lose one level.
_TINY = 1e-3


def random_ops(key: jax.Array, image: jax.Array, count: int = 2) -> jax.Array:
    """Applies `count` random operations in sequence, each at a random level and with probability 1/2.

    Levels are 1 to 9 of 10, as in the best-known port of FixMatch to PyTorch. Geometric operations take a
    random sign.

    Args:
        key: typed PRNG key.
        image: [h, w, 1 or 3] in [0, 1].
        count: number of operations.
    """
    levels = jnp.round(255.0 * image)
    for one in jax.random.split(key, count):
        op_key, level_key, sign_key, use_key = jax.random.split(one, 4)
        op = jax.random.randint(op_key, (), 0, len(OPS))
        level = jax.random.randint(level_key, (), 1, 10).astype(jnp.float32)
        level = jnp.where((op >= _INDEX["rotate"]) & jax.random.bernoulli(sign_key), -level, level)
        levels = jnp.where(jax.random.bernoulli(use_key), apply(op, level, levels), levels)
    return levels / 255.0


def apply(op: jax.Array, level: jax.Array, image: jax.Array, fill: float = 0.0) -> jax.Array:
    """Applies one operation to one image.

    Args:
        op: index into OPS.
        level: up to 10 in RandAugment; negative levels reverse the geometric operations. Level 10 is a
            rotation by 30 degrees, a shear by .3, a shift by .3 of the side, a blend with weight .95 on the
            image (level 0: .05), posterising to eight bits (level 0: four), or solarising from level 0 on.
        image: [h, w, 1 or 3], whole numbers in [0, 255] as float32.
        fill: level of what a geometric operation uncovers.
    """
    return jnp.select(
        [op >= _INDEX["rotate"], op >= _INDEX["brightness"], op >= _INDEX["autocontrast"]],
        [_resampled(op, level, image, fill), _blended(op, level, image), _mapped(op, level, image)],
        image,
    )


def _resampled(op: jax.Array, level: jax.Array, image: jax.Array, fill: float) -> jax.Array:
    """Rotates about the centre, shears or shifts by whole pixels; nearest neighbour, `fill` outside."""

    def amount(name, unit):
        return jnp.where(op == _INDEX[name], unit * level, 0.0)

    height, width = image.shape[:2]
    y, x = jnp.meshgrid(jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij")
    turn = -jnp.deg2rad(amount("rotate", 3.0))
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    u, v = x - width / 2, y - height / 2
    source_x = cos * u + sin * v + width / 2 + amount("shear_x", 0.03) * y
    source_y = cos * v - sin * u + height / 2 + amount("shear_y", 0.03) * x
    column = jnp.floor(source_x + jnp.trunc(amount("translate_x", 0.03 * width))).astype(jnp.int32)
    row = jnp.floor(source_y + jnp.trunc(amount("translate_y", 0.03 * height))).astype(jnp.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    taken = image[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], taken, fill)


def _blended(op: jax.Array, level: jax.Array, image: jax.Array) -> jax.Array:
    """Brightness, colour, contrast or sharpness: a blend with a black, grey, constant or smoothed image.

    The weight on the image is .05 + .09 level; one above 1 moves the image away from the other, within range.
    """
    gray = jnp.round(color.luma(image)) if image.shape[-1] == 3 else image
    degenerate = jnp.select(
        [op == _INDEX[name] for name in ("brightness", "color", "contrast")],
        [
            jnp.zeros_like(image),
            jnp.broadcast_to(gray, image.shape),
            jnp.full_like(image, jnp.floor(jnp.mean(gray) + 0.5)),
        ],
        _smoothed(image),
    )
    blend = jnp.floor(degenerate + (0.05 + 0.09 * level) * (image - degenerate) + _TINY)
    return jnp.clip(blend, 0.0, 255.0)


def _smoothed(image: jax.Array) -> jax.Array:
    """Weighted mean of each pixel (weight 5) and its eight neighbours (1 each); the border is unchanged."""
    height, width = image.shape[:2]
    shifted = [image[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    inner = jnp.floor((sum(shifted) + 4.0 * shifted[4]) / 13.0 + 0.5)
    return image.at[1:-1, 1:-1].set(inner)


def _mapped(op: jax.Array, level: jax.Array, image: jax.Array) -> jax.Array:
    """Autocontrast, equalise, posterise (4 + .4 level bits) or solarise (from value 256 - 25.6 level on)."""
    low, high = jnp.min(image, axis=(0, 1)), jnp.max(image, axis=(0, 1))
    stretched = jnp.floor(255.0 * (image - low) / jnp.maximum(high - low, 1.0) + _TINY)
    unit = 2.0 ** (4.0 - jnp.floor(level * 4.0 / 10.0 + _TINY))
    inverted = jnp.where(image >= 256.0 - jnp.floor(level * 256.0 / 10.0 + _TINY), 255.0 - image, image)
    return jnp.select(
        [op == _INDEX[name] for name in ("autocontrast", "equalize", "posterize")],
        [
            jnp.where(high > low, stretched, image),
            _equalized(image),
            unit * jnp.floor(image / unit),
        ],
        inverted,
    )


def _equalized(image: jax.Array) -> jax.Array:
    """Histogram equalisation of each channel, by Pillow's integer arithmetic."""
    height, width, channels = image.shape
    flat = image.reshape(-1, channels).T.astype(jnp.int32)
    counts = jax.vmap(lambda levels: jnp.zeros(256, jnp.int32).at[levels].add(1))(flat)
    highest = jnp.max(flat, axis=1, keepdims=True)
    step = (height * width - jnp.sum(flat == highest, axis=1, keepdims=True)) // 255
    before = jnp.cumsum(counts, axis=1) - counts
    table = jnp.clip((step // 2 + before) // jnp.maximum(step, 1), 0, 255)
    found = jnp.where(step > 0, jnp.take_along_axis(table, flat, axis=1), flat)
    return found.T.reshape(image.shape).astype(image.dtype)
