"""AutoAugment's operations against Pillow's at the policy's magnitudes, and what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from dmlp_jax.data import augment
from dmlp_jax.data.augment import autoaugment, randaugment
from tests.data.augment.test_randaugment import SIGNED, smooth_images

apply = jax.jit(jax.vmap(randaugment.apply, in_axes=(None, None, 0, None)))
USED = sorted({part[1:] for sub_policy in autoaugment.SUB_POLICIES for part in sub_policy})
BLENDS = {
    "brightness": ImageEnhance.Brightness, "color": ImageEnhance.Color, "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}  # fmt: skip
GREY = (128, 128, 128)


def pillow(name, magnitude, sign, image):
    """The operation with the paper's ranges, each in nine equal steps."""
    w, h = image.size
    part = sign * magnitude / 9
    moves = {
        "shear_y": (1, 0, 0, 0.3 * part, 1, 0),
        "translate_x": (1, 0, int(150 / 331 * part * w), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, int(150 / 331 * part * h)),
    }
    if name in moves:
        return image.transform(image.size, Image.Transform.AFFINE, moves[name], fillcolor=GREY)
    if name in BLENDS:
        return BLENDS[name](image).enhance(1 + 0.9 * part)
    return {
        "rotate": lambda: image.rotate(30 * part, fillcolor=GREY),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "posterize": lambda: ImageOps.posterize(image, round(8 - 4 * magnitude / 9)),
        "solarize": lambda: ImageOps.solarize(image, 256 - 256 * magnitude / 9),
    }[name]()


@pytest.mark.parametrize(("name", "magnitude"), USED)
def test_operations_are_pillows(name, magnitude):
    images = smooth_images()
    index, *levels = autoaugment.levels(name, magnitude)
    for sign, level in zip((1, -1), levels, strict=True):
        found = np.asarray(apply(index, level, jnp.float32(images), autoaugment.GREY))
        oracle = [np.asarray(pillow(name, magnitude, sign, Image.fromarray(image))) for image in images]
        off = np.abs(found - np.float64(oracle))
        if name in SIGNED:
            # Which pixel is nearest half-way between two is a matter of the last bit.
            assert np.mean(off > 0) <= 1 / 32, (sign, np.mean(off > 0))
        else:
            assert off.max() <= 1, (sign, off.max())
            assert np.mean(off > 0) < 0.01, (sign, np.mean(off > 0))


def test_the_policy_is_the_papers():
    """Some of its sub-policies, and the sum of all probabilities, from the port that SSR uses."""
    table = autoaugment.SUB_POLICIES
    assert len(table) == 25
    assert table[0] == ((0.1, "invert", 7), (0.2, "contrast", 6))
    assert table[13] == ((0.9, "brightness", 6), (0.2, "color", 8))
    assert table[24] == ((0.7, "translate_y", 9), (0.9, "autocontrast", 1))
    assert sum(first[0] + second[0] for first, second in table) == pytest.approx(26.7)


def test_sub_policies_are_drawn_alike_and_operations_with_their_probability(monkeypatch):
    calls = []

    def noted(op, level, image, fill):
        assert fill == 128
        calls.append((op, level))
        return image + 1.0 + len(calls)

    def drawn(key):
        calls.clear()
        image = autoaugment.random_sub_policy(key, jnp.zeros((1, 1, 1)))
        kinds, levels = zip(*calls, strict=True)
        return jnp.stack(kinds), jnp.stack(levels), jnp.round(255 * image[0, 0, 0])

    monkeypatch.setattr(randaugment, "apply", noted)
    kinds, levels, marks = map(
        np.asarray, jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(1), 8000))
    )
    # The first operation adds 2, the second 3.
    applied = np.stack([np.isin(marks, (2, 5)), np.isin(marks, (3, 5))], axis=1)
    seen = 0
    for sub_policy in autoaugment.SUB_POLICIES:
        found = [autoaugment.levels(name, magnitude) for _, name, magnitude in sub_policy]
        mine = np.ones(len(kinds), bool)
        for slot, (index, up, down) in enumerate(found):
            near = np.minimum(abs(levels[:, slot] - up), abs(levels[:, slot] - down)) < 1e-4
            mine &= (kinds[:, slot] == index) & near
        seen += mine.sum()
        assert abs(mine.mean() - 1 / 25) < 0.012, sub_policy
        for slot, (prob, *_) in enumerate(sub_policy):
            assert abs(applied[mine, slot].mean() - prob) < 0.12, sub_policy
            _, up, down = found[slot]
            if up != down:
                assert abs(np.mean(abs(levels[mine, slot] - up) < 1e-4) - 0.5) < 0.12, sub_policy
    assert seen == len(kinds)


def test_view_is_a_shifted_flipped_image_with_operations(monkeypatch):
    """The policy of that name with the operations left out is `crop_flip`."""
    monkeypatch.setattr(autoaugment, "random_sub_policy", lambda key, image: image)
    images = jnp.float32(smooth_images()) / 255
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = [padded[:, i : i + 32, j : j + 32] for i in range(9) for j in range(9)]
    windows += [window[:, :, ::-1] for window in windows]
    views = np.asarray(jax.jit(augment.make("autoaugment"))(jax.random.split(jax.random.key(3), 6), images))
    for number, view in enumerate(views):
        assert any(np.array_equal(window[number], view) for window in windows)
    cropped = augment.make("autoaugment", crop_size=20)(jax.random.split(jax.random.key(3), 6), images)
    assert cropped.shape == (6, 20, 20, 3)
