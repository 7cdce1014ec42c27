"""Implements AutoAugment's policy for CIFAR-10 (Cubuk et al. 2019, table 7) inside jit.

Of 25 sub-policies of two operations one is drawn for each image. Magnitudes, and the grey that fills what a
geometric operation uncovers, are those of the best-known port to PyTorch, which SSR uses. Shifts are by whole
pixels and shears take the nearest pixel, as in torchvision. Rotations go either way, as in the paper; in
SSR's copy of the port they go one way only.

The operations are RandAugment's with other levels, so that three maps serve all of them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dmlp_jax.data.augment import randaugment

# Probability, operation and magnitude (0 to 9) of both operations.
SUB_POLICIES = (
    ((0.1, "invert", 7), (0.2, "contrast", 6)),
    ((0.7, "rotate", 2), (0.3, "translate_x", 9)),
    ((0.8, "sharpness", 1), (0.9, "sharpness", 3)),
    ((0.5, "shear_y", 8), (0.7, "translate_y", 9)),
    ((0.5, "autocontrast", 8), (0.9, "equalize", 2)),
    ((0.2, "shear_y", 7), (0.3, "posterize", 7)),
    ((0.4, "color", 3), (0.6, "brightness", 7)),
    ((0.3, "sharpness", 9), (0.7, "brightness", 9)),
    ((0.6, "equalize", 5), (0.5, "equalize", 1)),
    ((0.6, "contrast", 7), (0.6, "sharpness", 5)),
    ((0.7, "color", 7), (0.5, "translate_x", 8)),
    ((0.3, "equalize", 7), (0.4, "autocontrast", 8)),
    ((0.4, "translate_y", 3), (0.2, "sharpness", 6)),
    ((0.9, "brightness", 6), (0.2, "color", 8)),
    ((0.5, "solarize", 2), (0.0, "invert", 3)),
    ((0.2, "equalize", 0), (0.6, "autocontrast", 0)),
    ((0.2, "equalize", 8), (0.8, "equalize", 4)),
    ((0.9, "color", 9), (0.6, "equalize", 6)),
    ((0.8, "autocontrast", 4), (0.2, "solarize", 8)),
    ((0.1, "brightness", 3), (0.7, "color", 0)),
    ((0.4, "solarize", 5), (0.9, "autocontrast", 3)),
    ((0.9, "translate_y", 9), (0.7, "translate_y", 9)),
    ((0.9, "autocontrast", 2), (0.8, "solarize", 3)),
    ((0.8, "equalize", 8), (0.1, "invert", 3)),
    ((0.7, "translate_y", 9), (0.9, "autocontrast", 1)),
)
GREY = 128.0


def levels(name: str, magnitude: int) -> tuple[int, float, float]:
    """The index in `randaugment.OPS` of an operation, and its level there for either sign of the magnitude.

    With m the magnitude: rotations by 30 m/9 degrees, shears by .3 m/9, shifts by 150/331 m/9 of the side,
    blends with weight 1 + .1 m or 1 - .1 m on the image, posterising to 8 - 4 m/9 bits (rounded), solarising
    from level 256 - 256 m/9 on.

    Args:
        name: an operation of `randaugment.OPS`, or 'invert', which solarises from level 0 on.
        magnitude: m, 0 to 9.
    """
    if name == "invert":
        return randaugment.OPS.index("solarize"), 10.0, 10.0
    index, level = randaugment.OPS.index(name), 10 * magnitude / 9
    if name in ("brightness", "color", "contrast", "sharpness"):
        up, down = (((1 + sign * 0.1 * magnitude) - 0.05) / 0.09 for sign in (1, -1))
        return index, up, down
    if name == "posterize":
        level = (round(8 - 4 * magnitude / 9) - 4) / 0.4
    if name.startswith("translate"):
        level *= 150 / 331 / 0.3
    signed = index >= randaugment.OPS.index("rotate")
    return index, level, -level if signed else level


# Probability, operation, level up and level down of both operations, [25, 2, 4].
_TABLE = np.array(
    [
        [(prob, *levels(name, magnitude)) for prob, name, magnitude in sub_policy]
        for sub_policy in SUB_POLICIES
    ],
    np.float32,
)


def random_sub_policy(key: jax.Array, image: jax.Array) -> jax.Array:
    """Applies a random sub-policy to one image [h, w, 1 or 3] in [0, 1]."""
    which_key, *op_keys = jax.random.split(key, 3)
    chosen = jnp.asarray(_TABLE)[jax.random.randint(which_key, (), 0, len(_TABLE))]
    found = jnp.round(255.0 * image)
    for one, (prob, op, up, down) in zip(op_keys, chosen, strict=True):
        sign_key, use_key = jax.random.split(one)
        level = jnp.where(jax.random.bernoulli(sign_key), up, down)
        changed = randaugment.apply(op.astype(jnp.int32), level, found, fill=GREY)
        found = jnp.where(jax.random.bernoulli(use_key, prob), changed, found)
    return found / 255.0
