"""Makes label-free features of CIFAR-10 in minutes on a CPU, for the other benchmarks.

    python benchmarks/patch_features.py --cifar=data/cifar10.npz --out=data/patch_features.npz

The built-in encoder of `dmlp_jax.embed`, see dmlp_jax/embedding/patches.py. Labels are used only at the end,
for the accuracy of a linear probe. The file holds train, test (float16) and their true labels.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeClassifier

from dmlp_jax.embedding import patches
from dmlp_jax.storage import files


def main() -> None:
    """Makes the features and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, default=Path("data/cifar10.npz"))
    parser.add_argument("--out", type=Path, default=Path("data/patch_features.npz"))
    parser.add_argument("--centroids", type=int, default=800)
    parser.add_argument("--components", type=int, default=512)
    arguments = parser.parse_args()
    data = files.load_npz(arguments.cifar, ("x_train", "y_train", "x_test", "y_test"))
    encoder = patches.fit(data["x_train"], 0, arguments.centroids, arguments.components)
    train, test = encoder.encode(data["x_train"]), encoder.encode(data["x_test"])
    probe = RidgeClassifier(alpha=len(train) * 1e-6).fit(train, data["y_train"])
    print(f"linear probe on true labels: test accuracy {probe.score(test, data['y_test']):.3f}")
    arrays = {"train": train, "test": test, "train_labels": data["y_train"], "test_labels": data["y_test"]}
    files.save_npz(arguments.out, {k: v.astype(np.float16) if v.ndim == 2 else v for k, v in arrays.items()})


if __name__ == "__main__":
    main()
