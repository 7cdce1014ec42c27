"""Embeds images by the single-layer network of Coates, Lee and Ng (2011), learned from the images themselves.

Whitened patches, k-means, triangle activation, sums over the image's quadrants; then the leading principal
components. No label is involved and nothing is downloaded. It takes seconds where contrastive learning takes
minutes, and knows textures, edges and colours rather than objects: a pretrained network is better for photos.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NAME = "patches"
CENTROIDS, COMPONENTS = 800, 512
# Images that are learned from at most, drawn at random, and patches for each centroid.
IMAGES, PATCHES = 10_000, 250
# Added to variances of pixels in 0 to 255, and to those of whitened directions, as in the paper.
CONTRAST, RIDGE = 10.0, 0.1
BATCH = 50


class ImageEncoder(NamedTuple):
    """A fitted encoder of images, in plain arrays.

    Attributes:
        side: side of the images in pixels.
        patch: side p of a patch in pixels.
        mean: of normalised patches, [3 p^2].
        whitening: [3 p^2, 3 p^2].
        centroids: of whitened patches, [k, 3 p^2].
        centre: mean of the activations, [4 k].
        basis: principal directions of the activations, [4 k, d].
    """

    side: int
    patch: int
    mean: np.ndarray
    whitening: np.ndarray
    centroids: np.ndarray
    centre: np.ndarray
    basis: np.ndarray

    def encode(self, images: Any, progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """Embeddings [n, d], float32, of images [n, side, side, 3], uint8, in memory or decoded as needed."""
        found = np.empty((len(images), self.basis.shape[1]), np.float32)
        for start, stop, rows in _activations(images, self):
            found[start:stop] = (rows - self.centre) @ self.basis
            progress(stop)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """The encoder as arrays for an npz file; see `from_arrays`."""
        return {name: np.asarray(value) for name, value in self._asdict().items()}


def from_arrays(arrays: dict[str, np.ndarray]) -> ImageEncoder:
    """The encoder that `ImageEncoder.arrays` wrote."""
    side, patch, *rest = (arrays[name] for name in ImageEncoder._fields)
    return ImageEncoder(int(side), int(patch), *rest)


def fit(
    images: Any,
    seed: int = 0,
    centroids: int | None = None,
    components: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> ImageEncoder:
    """Learns an encoder from images, without labels.

    Args:
        images: [n, side, side, 3], uint8, an array or what decodes images when it is indexed. At most
            `IMAGES` of them, drawn at random, are learned from.
        seed: of all draws.
        centroids: k, lowered where there are few patches; `CENTROIDS` by default.
        components: d, lowered to what the images have; `COMPONENTS` by default.
        progress: called with the number of images used so far.
    """
    from sklearn.cluster import MiniBatchKMeans

    rng = np.random.default_rng(seed)
    centroids, components = centroids or CENTROIDS, components or COMPONENTS
    some = images
    if len(images) > IMAGES:
        some = images[np.sort(rng.choice(len(images), IMAGES, replace=False))]
    some = np.asarray(some[:])
    side = some.shape[1]
    patch = _patch_side(side)
    sample = _sample(some, patch, PATCHES * centroids, rng)
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample.T))
    whitening = ((vectors / np.sqrt(np.maximum(values, 0) + RIDGE)) @ vectors.T).astype(np.float32)
    whitened = (sample - mean) @ whitening
    means = MiniBatchKMeans(
        min(centroids, len(whitened) // 4), batch_size=20_000, max_iter=10, n_init=1, random_state=seed
    )
    means.fit(whitened)
    encoder = ImageEncoder(
        side, patch, mean, whitening, means.cluster_centers_.astype(np.float32), np.zeros(0), np.zeros(0)
    )
    total = np.zeros(4 * len(encoder.centroids))
    products = np.zeros((len(total), len(total)))
    for _, stop, rows in _activations(some, encoder):
        rows = rows.astype(np.float64)
        total += rows.sum(axis=0)
        products += rows.T @ rows
        progress(stop)
    centre = total / len(some)
    values, vectors = np.linalg.eigh(products / len(some) - np.outer(centre, centre))
    width = min(components, len(some) - 1, int(np.sum(values > 1e-9 * values[-1])))
    basis = vectors[:, ::-1][:, : max(width, 1)]
    # In units of the largest direction's deviation; equal images have none.
    basis = basis / np.sqrt(values[-1]) if values[-1] > 1e-9 else np.zeros_like(basis)
    return encoder._replace(centre=centre.astype(np.float32), basis=basis.astype(np.float32))


def _patch_side(side: int) -> int:
    """The side of a patch: 6 pixels as in the paper; a third of images of less than 24 pixels."""
    return 6 if side >= 24 else max(2, round(side / 3))


def _sample(images: np.ndarray, patch: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Normalised patches at random places of random images, [m, 3 patch^2], float32."""
    places = images.shape[1] - patch + 1
    size = min(most, len(images) * places**2)
    index = rng.integers(0, len(images), size)
    rows, columns = rng.integers(0, places, (2, size))
    offset = np.arange(patch)
    found = images[
        index[:, None, None], (rows[:, None] + offset)[:, :, None], (columns[:, None] + offset)[:, None]
    ]
    return np.asarray(_normalized(jnp.asarray(found.reshape(size, -1), jnp.float32)))


def _normalized(patches: jax.Array) -> jax.Array:
    """Patches [..., m] with brightness and contrast taken out."""
    patches = patches - jnp.mean(patches, axis=-1, keepdims=True)
    return patches / jnp.sqrt(jnp.var(patches, axis=-1, keepdims=True) + CONTRAST)


@jax.jit
def _activate(images: jax.Array, mean: jax.Array, whitening: jax.Array, centroids: jax.Array) -> jax.Array:
    """Triangle activations summed over quadrants, [batch, 4 k], of images [batch, side, side, 3]."""
    patch = round((mean.shape[0] / 3) ** 0.5)
    span = images.shape[1] - patch + 1
    pixels = images.astype(jnp.float32)
    shifted = [pixels[:, i : i + span, j : j + span] for i in range(patch) for j in range(patch)]
    patches = (_normalized(jnp.concatenate(shifted, axis=-1)) - mean) @ whitening
    squares = jnp.sum(patches**2, axis=-1, keepdims=True) + jnp.sum(centroids**2, axis=-1)
    distance = jnp.sqrt(jnp.maximum(squares - 2.0 * patches @ centroids.T, 0.0))
    active = jnp.maximum(jnp.mean(distance, axis=-1, keepdims=True) - distance, 0.0)
    half = span // 2
    quadrants = [
        jnp.sum(active[:, rows, columns], axis=(1, 2))
        for rows in (slice(half), slice(half, None))
        for columns in (slice(half), slice(half, None))
    ]
    return jnp.concatenate(quadrants, axis=-1)


def _activations(images: Any, encoder: ImageEncoder) -> Any:
    """Yields the first row, the row after the last, and the activations [b, 4 k] of batches of images."""
    for start in range(0, len(images), BATCH):
        batch = np.asarray(images[start : start + BATCH])
        # Filled up, so that the last batch needs no program of its own.
        filled = np.zeros((BATCH, *batch.shape[1:]), batch.dtype)
        filled[: len(batch)] = batch
        rows = _activate(filled, encoder.mean, encoder.whitening, encoder.centroids)
        yield start, start + len(batch), np.asarray(rows)[: len(batch)]
