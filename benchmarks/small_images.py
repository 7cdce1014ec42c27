"""Makes small images of characters that need no download, and label-free features of them.

`digits` are scikit-learn's 1,797 handwritten digits. `letters` are drawn with the fonts that matplotlib
ships, in both cases, then tilted, shifted, blurred and covered with noise. `patch_features` is the
single-layer network of Coates, Lee and Ng (2011) for small grey images: whitened patches, k-means, triangle
activation, sums over quadrants; then the leading principal components. patch_features.py has the same for
CIFAR-10.
"""

import functools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import affine_transform, gaussian_filter
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol",
    "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10",
)  # fmt: skip
SIDE, DRAWN = 16, 48


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits: grey images [1797, 8, 8] in [0, 1] and their classes [1797]."""
    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8).astype(np.float32) / 16, labels.astype(np.int32)


@functools.cache
def letters(count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Drawn letters of 26 classes: grey images [count, 16, 16], ink about 1, and their classes [count]."""
    rng = np.random.default_rng(0)
    glyphs = np.stack([[_glyph(font, case) for case in _cases()] for font in FONTS])
    labels = rng.permutation(np.arange(count) % len(LETTERS))
    columns = labels + len(LETTERS) * rng.integers(0, 2, count)
    chosen = glyphs[rng.integers(0, len(FONTS), count), columns]
    return np.stack([_disturb(glyph, rng) for glyph in chosen]), labels.astype(np.int32)


def patch_features(
    images: np.ndarray, patch: int = 3, centroids: int = 64, components: int = 96
) -> np.ndarray:
    """Features [n, components] float32 of grey images [n, side, side], made without labels.

    Args:
        images: [n, side, side].
        patch: side of a patch in pixels.
        centroids: of k-means.
        components: principal components kept, at most 4 * centroids.
    """
    rng = np.random.default_rng(0)
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(1, 2))
    span, size = windows.shape[1], min(50_000, windows[..., 0, 0].size)
    places = rng.integers(0, len(images), size), *rng.integers(0, span, (2, size))
    sample = _normalize(windows[places].reshape(size, -1))
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample.T))
    whitening = (vectors / np.sqrt(values + 0.1)) @ vectors.T
    means = KMeans(centroids, n_init=1, max_iter=30, random_state=0).fit((sample - mean) @ whitening)
    parts = []
    for block in np.array_split(windows, -(-len(images) // 500)):
        patches = (_normalize(block.reshape(*block.shape[:3], -1)) - mean) @ whitening
        distance = means.transform(patches.reshape(-1, patch**2)).reshape(*block.shape[:3], -1)
        active = np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)
        halves = slice(span // 2), slice(span // 2, None)
        sums = [active[:, rows, columns].sum(axis=(1, 2)) for rows in halves for columns in halves]
        parts.append(np.concatenate(sums, axis=1))
    found = PCA(components, random_state=0).fit_transform(np.concatenate(parts))
    return (found / found[:, 0].std()).astype(np.float32)


def blurred(images: np.ndarray, block: int) -> np.ndarray:
    """Means of blocks of `block` x `block` pixels of images [n, side, side], [n, (side / block)^2]."""
    count, side, _ = images.shape
    return (
        images.reshape(count, side // block, block, side // block, block).mean(axis=(2, 4)).reshape(count, -1)
    )


def _normalize(patches: np.ndarray) -> np.ndarray:
    """Patches [..., d] with brightness and contrast taken out."""
    patches = patches - patches.mean(axis=-1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=-1, keepdims=True) + 0.01)


def _cases() -> str:
    """All classes in lower case, then in upper case."""
    return LETTERS + LETTERS.upper()


def _glyph(font: str, letter: str) -> np.ndarray:
    """A letter in the middle of a square [DRAWN, DRAWN], ink 1."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    image = Image.new("L", (DRAWN, DRAWN))
    ImageDraw.Draw(image).text(
        (DRAWN // 2, DRAWN // 2), letter, fill=255, font=ImageFont.truetype(path, 30), anchor="mm"
    )
    return np.asarray(image, np.float32) / 255


def _disturb(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The glyph tilted, stretched, shifted, blurred, shrunk to [SIDE, SIDE] and covered with noise."""
    angle, shear = rng.normal(0, 0.08), rng.normal(0, 0.08)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) / rng.uniform(0.8, 1.2, 2)
    centre = np.full(2, (DRAWN - 1) / 2)
    moved = affine_transform(glyph, matrix, centre - matrix @ (centre + rng.normal(0, 0.7, 2)), order=1)
    soft = gaussian_filter(moved, rng.uniform(0.5, 1.2))
    small = blurred(soft[None], DRAWN // SIDE).reshape(SIDE, SIDE)
    small /= max(small.max(), 1e-3)
    return (small + rng.normal(0, rng.uniform(0.05, 0.15), small.shape)).astype(np.float32)
