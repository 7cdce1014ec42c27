"""Images of the user's own in folders: root/train/<class>/, root/val/<class>/, root/test/<class>/.

The folder an image lies in is its given label; those in val/ must be right. test/ is optional. Everything is
decoded once and kept in memory, so this is for sets of up to some 100,000 small images.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dmlp_jax.data.types import Dataset
from dmlp_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def load(root: Path, size: int) -> Dataset:
    """Reads the folders.

    Args:
        root: `data.dir`.
        size: side length in pixels; the shorter side is resized to it, the centre cut out.

    Raises:
        UserError: a missing folder or class, no images, or a file that is no image.
    """
    if size < 8:
        raise UserError(f"data.image_size is {size}; give the side length to resize to, at least 8")
    if not (root / "train").is_dir() or not (root / "val").is_dir():
        raise UserError(
            f"{root.resolve()} (data.dir) must hold train/<class>/ with the noisy images and "
            "val/<class>/ with the clean ones"
        )
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    if len(classes) < 2:
        raise UserError(f"{root / 'train'} has {len(classes)} class folders; at least two are needed")
    inputs, given = _read(root / "train", classes, size)
    val_inputs, val_labels = _read(root / "val", classes, size)
    test_inputs = test_labels = None
    if (root / "test").is_dir():
        test_inputs, test_labels = _read(root / "test", classes, size)
    return Dataset(
        inputs=inputs,
        labels=None,
        test_inputs=test_inputs,
        test_labels=test_labels,
        class_names=tuple(classes),
        given_labels=given,
        val_inputs=val_inputs,
        val_labels=val_labels,
    )


def _read(folder: Path, classes: list[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    unknown = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in classes)
    if unknown:
        raise UserError(f"{folder} has the class {unknown[0]!r}, which train/ does not have")
    paths = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not paths:
        raise UserError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    images = np.stack([_decode(path, size) for path, _ in paths])
    return images, np.array([label for _, label in paths], np.int32)


def _decode(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            scale = size / min(image.size)
            width, height = (max(size, round(side * scale)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
            left, top = (width - size) // 2, (height - size) // 2
            return np.asarray(image.crop((left, top, left + size, top + size)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}); repair or remove it") from error
