"""Compares embeddings of images that need no labels and no download: time, and linear probes on true labels.

    python benchmarks/image_embeddings.py --cifar=data/cifar10.npz

2,000 images of CIFAR-10, and scikit-learn's digits at 8 x 8 pixels. `patches` is what `dmlp_jax.embed` does;
others put something else in the place of k-means: patches drawn at random, or random directions. Pixels are
reduced by PCA. SimCLR trains the pipeline's small CNN on the images, as long as --epochs says. The probe is a
ridge classifier on true labels, in five folds.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from common import RESULTS, markdown, save
from front_door import probe
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from dmlp_jax.config import cifar_config, default_config
from dmlp_jax.contrastive import features as features_lib
from dmlp_jax.contrastive.pretrain import load_encoder, pretrain
from dmlp_jax.embedding import patches
from dmlp_jax.models import registry
from dmlp_jax.storage import files
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session

COUNT = 2_000


def main() -> None:
    """Measures; writes benchmarks/results/image_embeddings.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10.npz"))
    parser.add_argument("--count", type=int, default=COUNT, help="images of CIFAR-10")
    parser.add_argument("--epochs", default="20", help="of SimCLR, comma-separated")
    parser.add_argument("--out", type=Path, default=RESULTS / "image_embeddings.md")
    arguments = parser.parse_args()
    stored = files.load_npz(arguments.cifar, ("x_train", "y_train"))
    rows = np.random.default_rng(0).permutation(len(stored["y_train"]))[: arguments.count]
    digits, true = load_digits(return_X_y=True)
    digits = np.repeat(np.uint8(digits.reshape(-1, 8, 8, 1) * 255 / 16), 3, axis=3)
    sets = {"CIFAR-10": (stored["x_train"][rows], stored["y_train"][rows]), "digits": (digits, true)}
    lengths = map(int, arguments.epochs.split(","))
    methods = METHODS | {f"SimCLR, {count} epochs": functools.partial(_simclr, count) for count in lengths}
    lines = []
    for name, (images, labels) in sets.items():
        for method, embed in methods.items():
            start = time.process_time()
            features = embed(images)
            used = time.process_time() - start
            share = probe(features, labels)["right"]
            lines.append([name, method, str(features.shape[1]), f"{100 * share:.1f}", f"{used:.0f}"])
            print(lines[-1], flush=True)
    header = ["images", "embedding", "dimensions", "linear probe on true labels, %", "CPU seconds"]
    text = (
        f"{arguments.count:,} images of CIFAR-10 and {len(true):,} digits. CPU seconds are of learning the "
        "embedding and of using it.\n\n"
    )
    save(arguments.out, "Embeddings of images without labels", text + markdown(header, lines))


def _patches(images: np.ndarray) -> np.ndarray:
    return patches.fit(images).encode(images)


def _with(centroids: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Patches with other centroids than those of k-means."""

    class Centroids:
        def __init__(self, count: int, **settings: object) -> None:
            self.count = count

        def fit(self, rows: np.ndarray) -> None:
            self.cluster_centers_ = centroids(rows, self.count)

    def embed(images: np.ndarray) -> np.ndarray:
        with mock.patch("sklearn.cluster.MiniBatchKMeans", Centroids):
            return _patches(images)

    return embed


def _drawn(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.random.default_rng(0).choice(len(rows), count, replace=False)]


def _directions(rows: np.ndarray, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, rows.shape[1]))


def _pixels(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1).astype(np.float32)
    return PCA(min(256, rows.shape[1])).fit_transform(rows)


def _simclr(epochs: int, images: np.ndarray) -> np.ndarray:
    """Features of the small CNN after so many epochs, with the pipeline's settings for such images."""
    digits = max(images.shape[1:3]) <= 16
    settings = (default_config() if digits else cifar_config("cifar10")).pretrain
    settings.update(model="small_cnn", epochs=epochs, batch_size=256, dtype="float32")
    if digits:
        images = images[..., :1]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        session = Session(jax.local_devices(), MetricsLog(None), log_seconds=60.0)
        pretrain(images, settings, session, folder=place / "checkpoints", key=jax.random.key(0))
        variables = load_encoder(images, settings, place / "checkpoints")
    encoder = registry.make_encoder("small_cnn")
    return features_lib.extract(encoder, variables, images, batch_size=256)


METHODS = {
    "patches, k-means (built in)": _patches,
    "patches, drawn at random": _with(_drawn),
    "patches, random directions": _with(_directions),
    "pixels, PCA": _pixels,
}


if __name__ == "__main__":
    main()
