"""Repairs wrong labels of scikit-learn's digits, with the pixels as features: half a minute on two CPU cores.

    python examples/digits.py

No network is trained: the features are the 64 pixels. 80 % of the labels are redrawn at random. The clean set
is five correctly labelled images of every class.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dmlp_jax import PurifyResult, predict, purify

CLASSES = 10


def main() -> None:
    """Adds label noise, purifies the labels and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=0.8, help="share of labels drawn at random")
    parser.add_argument("--clean", type=int, default=5, help="clean images per class")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    images, true = load_digits(return_X_y=True)
    images, test_images, true, test_labels = train_test_split(
        images, true, test_size=0.25, random_state=arguments.seed, stratify=true
    )
    images, clean_images, true, clean_labels = train_test_split(
        images, true, test_size=arguments.clean * CLASSES, random_state=arguments.seed, stratify=true
    )
    redrawn = rng.random(len(true)) < arguments.rate
    given = np.where(redrawn, rng.integers(CLASSES, size=len(true)), true)
    result = purify(images, given, (clean_images, clean_labels))
    show(result, given, true)
    classified = np.argmax(predict(result.classifier, test_images), axis=1)
    print(f"\nthe linear classifier of the result is right on {np.mean(classified == test_labels):.1%}")
    print(f"of {len(test_labels)} test images")


def show(result: PurifyResult, given: np.ndarray, true: np.ndarray) -> None:
    """Prints the accuracy of each label source, held-out and true, and the five most suspicious labels."""
    print(f"{len(given)} labels, {np.mean(given != true):.1%} of them wrong\n")
    print(f"{'labels':<22}{'on held-out clean rows':>24}{'of all labels':>16}")
    for name, labels in {**result.baselines, "purified": result.labels}.items():
        held_out = float(result.scores[name]["accuracy"])
        print(f"{name:<22}{held_out:>24.1%}{np.mean(np.asarray(labels) == true):>16.1%}")
    # Sorted by how likely the given label is right, not by `confidence`, which is of the purified label.
    trust = np.asarray(result.label_quality)
    print(f"\n{'row':>5}{'given':>7}{'purified':>10}{'true':>6}{'quality':>11}")
    for row in np.argsort(trust, kind="stable")[:5]:
        print(f"{row:>5}{given[row]:>7}{int(result.labels[row]):>10}{true[row]:>6}{trust[row]:>11.1e}")


if __name__ == "__main__":
    main()
