"""Builds augmentation policies by name, for pretraining and retraining; they run inside jit.

A policy maps PRNG keys [b] and images [b, h, w, channels], float32 in [0, 1], to augmented images in the same
format. Each image has its own key, so its augmentation does not depend on the batch or on the device.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlp_jax.data.augment import augmix, autoaugment, color, geometry, randaugment
from dmlp_jax.errors import UserError

Policy = Callable[[jax.Array, jax.Array], jax.Array]
Change = Callable[[jax.Array, jax.Array], jax.Array]  # of one image
NAMES = (
    "simclr", "affine", "affine_weak", "affine_strong", "crop_flip", "reflect_flip", "augmix", "autoaugment",
    "autoaugment_imagenet", "randaugment", "randaugment3", "none",
)  # fmt: skip


def make(
    name: str,
    *,
    crop_size: int = 0,
    crop_min_area: float = 0.2,
    color_strength: float = 0.5,
    gray_prob: float = 0.2,
    blur_prob: float = 0.0,
) -> Policy:
    """The augmentation policy `name`.

    Args:
        name: 'simclr' (random resized crop, flip, colour jitter, greyscale, blur; Chen et al. 2020);
            'affine' (rotation, scale, shear, shift, elastic bend, contrast, noise and cutout, for small grey
            images such as digits, which must not be flipped);
            'affine_weak' (slight rotation, scale, shear and shift only, about half a pixel);
            'affine_strong' ('affine' with ranges half as large again, and cutout always);
            'crop_flip' (shift by up to an eighth of the side, flip; usual for CIFAR classifiers);
            'reflect_flip' (the same with mirrored edges; FixMatch's weak augmentation);
            'augmix' ('crop_flip' and AugMix's mixture of three chains of operations);
            'autoaugment' and 'autoaugment_imagenet' ('crop_flip' and AutoAugment's policy for CIFAR-10 or
            ImageNet);
            'randaugment' ('reflect_flip', two operations of RandAugment and a grey cutout of half the side;
            FixMatch's strong augmentation);
            'randaugment3' (three operations of RandAugment, a grey cutout of up to half the side and
            'crop_flip'; ProMix's strong augmentation); or 'none'.
        crop_size: side of the output, for all but 'affine' policies; 0 keeps the image's own. All of these
            but 'simclr' crop without padding; with 0 they pad and shift by up to an eighth of the side.
        crop_min_area: 'simclr': smallest crop, as a share of the image's area.
        color_strength: 'simclr': strength s of the jitter: brightness, contrast and saturation .8 s,
            hue .2 s.
        gray_prob: 'simclr': probability of greyscale.
        blur_prob: 'simclr': probability of a blur with sigma .1 to 2 pixels; 0 on CIFAR.

    Raises:
        UserError: no such policy, or a `crop_size` with an 'affine' policy.
    """
    if name == "none":
        return lambda keys, images: centre(images, crop_size)
    if name.startswith("affine") and crop_size:
        raise UserError(f"crop_size is for images in colour; augment={name} keeps the image's own size")
    policies: dict[str, Callable[..., jax.Array]] = {
        "simclr": partial(
            _simclr,
            crop_size=crop_size,
            crop_min_area=crop_min_area,
            color_strength=color_strength,
            gray_prob=gray_prob,
            blur_prob=blur_prob,
        ),
        "affine": partial(_affine, by=_MIDDLE),
        "affine_weak": _affine_weak,
        "affine_strong": partial(_affine, by=_STRONG),
        "crop_flip": partial(_crop_flip, crop_size=crop_size, mode="constant"),
        "reflect_flip": partial(_crop_flip, crop_size=crop_size, mode="reflect"),
        "augmix": partial(_changed, change=augmix.random_mix, crop_size=crop_size),
        "autoaugment": partial(
            _changed,
            change=partial(autoaugment.random_sub_policy, policy=autoaugment.CIFAR10),
            crop_size=crop_size,
        ),
        "autoaugment_imagenet": partial(
            _changed,
            change=partial(autoaugment.random_sub_policy, policy=autoaugment.IMAGENET),
            crop_size=crop_size,
        ),
        "randaugment": partial(_randaugment, crop_size=crop_size),
        "randaugment3": partial(_randaugment3, crop_size=crop_size),
    }
    if name not in policies:
        raise UserError(f"augment is {name!r}; it must be one of {', '.join(NAMES)}")
    return jax.vmap(policies[name])


def centre(images: jax.Array, size: int) -> jax.Array:
    """Crops images to their central squares [b, size, size, channels]; 0 leaves them as they are."""
    if not size:
        return images
    top, left = ((side - size) // 2 for side in images.shape[1:3])
    return images[:, top : top + size, left : left + size]


def to_float(images: jax.Array) -> jax.Array:
    """Converts uint8 images to float32 in [0, 1]; casts other types to float32 without scaling."""
    floats = images.astype(jnp.float32)
    return floats / 255.0 if images.dtype == jnp.uint8 else floats


def _simclr(
    key: jax.Array,
    image: jax.Array,
    *,
    crop_size: int,
    crop_min_area: float,
    color_strength: float,
    gray_prob: float,
    blur_prob: float,
) -> jax.Array:
    crop_key, flip_key, jitter_key, gray_key, blur_key = jax.random.split(key, 5)
    image = geometry.random_resized_crop(crop_key, image, crop_size or image.shape[0], crop_min_area)
    image = geometry.random_flip(flip_key, image)
    image = color.random_jitter(jitter_key, image, color_strength)
    image = color.random_gray(gray_key, image, gray_prob)
    return geometry.random_blur(blur_key, image, blur_prob) if blur_prob else image


def _crop_flip(key: jax.Array, image: jax.Array, *, crop_size: int, mode: str) -> jax.Array:
    shift_key, flip_key = jax.random.split(key)
    padding = 0 if crop_size else image.shape[0] // 8
    image = geometry.random_window(shift_key, image, crop_size or image.shape[0], padding, mode)
    return geometry.random_flip(flip_key, image)


def _changed(key: jax.Array, image: jax.Array, *, change: Change, crop_size: int) -> jax.Array:
    weak_key, change_key = jax.random.split(key)
    return change(change_key, _crop_flip(weak_key, image, crop_size=crop_size, mode="constant"))


def _randaugment(key: jax.Array, image: jax.Array, *, crop_size: int) -> jax.Array:
    weak_key, ops_key, cut_key = jax.random.split(key, 3)
    image = _crop_flip(weak_key, image, crop_size=crop_size, mode="reflect")
    image = randaugment.random_ops(ops_key, image)
    return geometry.random_cutout(cut_key, image, side=0.5, prob=1.0, fill=127 / 255)


def _randaugment3(key: jax.Array, image: jax.Array, *, crop_size: int) -> jax.Array:
    ops_key, side_key, cut_key, weak_key = jax.random.split(key, 4)
    image = randaugment.random_ops(ops_key, image, count=3, always=True)
    side = jax.random.uniform(side_key, maxval=0.5)
    image = geometry.random_cutout(cut_key, image, side=side, prob=1.0, fill=125 / 255)
    return _crop_flip(weak_key, image, crop_size=crop_size, mode="constant")


class _Warp(NamedTuple):
    """Ranges of an 'affine' policy; see `geometry.random_affine` and `geometry.random_cutout`.

    Attributes:
        degrees, scale, shear, shift, bend: arguments of `random_affine`.
        contrast: pixels are multiplied by a factor uniform in [1 - contrast, 1 + contrast].
        noise: standard deviation of the Gaussian noise added to every pixel.
        cut_side: side of the cutout, as a share of the image's.
        cut_prob: probability of the cutout.
    """

    degrees: float
    scale: tuple[float, float]
    shear: float
    shift: float
    bend: float
    contrast: float
    noise: float
    cut_side: float
    cut_prob: float


def _affine(key: jax.Array, image: jax.Array, *, by: _Warp) -> jax.Array:
    warp_key, contrast_key, noise_key, cut_key = jax.random.split(key, 4)
    image = geometry.random_affine(
        warp_key, image, degrees=by.degrees, scale=by.scale, shear=by.shear, shift=by.shift, bend=by.bend
    )
    gain = jax.random.uniform(contrast_key, (), minval=1 - by.contrast, maxval=1 + by.contrast)
    image = image * gain + by.noise * jax.random.normal(noise_key, image.shape)
    return jnp.clip(geometry.random_cutout(cut_key, image, side=by.cut_side, prob=by.cut_prob), 0.0, 1.0)


_MIDDLE = _Warp(10.0, (0.8, 1.2), 0.15, 0.12, 0.04, contrast=0.4, noise=0.05, cut_side=0.3, cut_prob=0.5)
_STRONG = _Warp(15.0, (0.7, 1.3), 0.22, 0.18, 0.06, contrast=0.6, noise=0.1, cut_side=0.35, cut_prob=1.0)


def _affine_weak(key: jax.Array, image: jax.Array) -> jax.Array:
    return geometry.random_affine(
        key, image, degrees=4.0, scale=(0.95, 1.05), shear=0.05, shift=0.06, bend=0.0
    )
