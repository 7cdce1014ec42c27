"""Makes label-free features of CIFAR-10 in minutes on a CPU, for the other benchmarks.

    python benchmarks/patch_features.py --cifar=data/cifar10.npz --out=data/patch_features.npz

The single-layer network of Coates, Lee and Ng (2011): whitened 6x6 patches, k-means, triangle activation, sum
over the image's quadrants; then the leading principal components. Labels are used only at the end, for the
accuracy of a linear probe. The file holds train, test (float16) and their true labels.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import RidgeClassifier

from dmlp_jax.storage import files

PATCH = 6


def main() -> None:
    """Makes the features and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10.npz"))
    parser.add_argument("--out", type=Path, default=Path("data/patch_features.npz"))
    parser.add_argument("--centroids", type=int, default=800)
    parser.add_argument("--components", type=int, default=512)
    arguments = parser.parse_args()
    data = files.load_npz(arguments.cifar, ("x_train", "y_train", "x_test", "y_test"))
    mean, whitening, centroids = learn(data["x_train"], arguments.centroids, np.random.default_rng(0))
    train = encode(data["x_train"], mean, whitening, centroids)
    test = encode(data["x_test"], mean, whitening, centroids)
    train, test = project(train, test, arguments.components)
    probe = RidgeClassifier(alpha=len(train) * 1e-6).fit(train, data["y_train"])
    print(f"linear probe on true labels: test accuracy {probe.score(test, data['y_test']):.3f}")
    arrays = {"train": train, "test": test, "train_labels": data["y_train"], "test_labels": data["y_test"]}
    files.save_npz(arguments.out, {k: v.astype(np.float16) if v.ndim == 2 else v for k, v in arrays.items()})


def learn(
    images: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [108], whitening [108, 108] and k-means centroids [count, 108] of random patches."""
    size = 400_000
    index = rng.integers(0, len(images), size)
    rows, columns = rng.integers(0, 33 - PATCH, (2, size))
    offset = np.arange(PATCH)
    patches = images[
        index[:, None, None], (rows[:, None] + offset)[:, :, None], (columns[:, None] + offset)[:, None]
    ]
    patches = np.asarray(normalize(jnp.asarray(patches.reshape(size, -1), jnp.float32)))
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    whitening = ((vectors / np.sqrt(values + 0.1)) @ vectors.T).astype(np.float32)
    means = MiniBatchKMeans(count, batch_size=20_000, max_iter=20, n_init=1, random_state=0)
    means.fit((patches - mean) @ whitening)
    return mean, whitening, means.cluster_centers_.astype(np.float32)


def normalize(patches: jax.Array) -> jax.Array:
    """Patches [..., 108] with brightness and contrast taken out."""
    patches = patches - jnp.mean(patches, axis=-1, keepdims=True)
    return patches / jnp.sqrt(jnp.var(patches, axis=-1, keepdims=True) + 10.0)


@jax.jit
def encode_batch(images: jax.Array, mean: jax.Array, whitening: jax.Array, centroids: jax.Array) -> jax.Array:
    """Triangle activations summed over quadrants, [batch, 4 * centroids]."""
    span = images.shape[1] - PATCH + 1
    pixels = images.astype(jnp.float32)
    shifted = [pixels[:, i : i + span, j : j + span] for i in range(PATCH) for j in range(PATCH)]
    patches = (normalize(jnp.concatenate(shifted, axis=-1)) - mean) @ whitening
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


def encode(
    images: np.ndarray, mean: np.ndarray, whitening: np.ndarray, centroids: np.ndarray, batch: int = 50
) -> np.ndarray:
    """`encode_batch` over all images; their number must be a multiple of `batch`."""
    parts = [
        np.asarray(encode_batch(images[i : i + batch], mean, whitening, centroids))
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def project(train: np.ndarray, test: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading principal components of the training rows, in units of the largest one's deviation."""
    mean = train.mean(axis=0)
    covariance = (train - mean).T @ (train - mean) / len(train)
    values, vectors = np.linalg.eigh(covariance)
    basis = vectors[:, -components:] / np.sqrt(values[-1])
    return (train - mean) @ basis, (test - mean) @ basis


if __name__ == "__main__":
    main()
