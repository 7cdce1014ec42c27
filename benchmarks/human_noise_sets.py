"""Makes the data sets of human_noise_data.py, before a clean set is split off.

`FROM_FOLDER` are read from files that the user has, `OWN` made from what is installed.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import package_tags
import small_images
from simulated_annotators import draw, set_aside, weak_logits
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from dmlp_jax.storage import files

LARGEST = 10_000


class Labelled(NamedTuple):
    """Rows before a clean set is split off: features [n, d], given labels [n], true labels [n]."""

    features: np.ndarray
    given: np.ndarray
    true: np.ndarray


def _news(folder: Path, seed: int) -> Labelled:
    """News texts with one annotator's labels."""
    stored = files.load_npz(folder / "news_noisy_text.npz", ("features", "given_labels", "true_labels"))
    return Labelled(stored["features"], stored["given_labels"], stored["true_labels"])


def _cifar10n(column: str, wrong: float | None, folder: Path, seed: int) -> Labelled:
    """CIFAR-10N's labels of one kind, 10,000 rows; mistakes thinned out to a share `wrong` of all rows."""
    stored = files.load_npz(folder / "cifar10_features.npz", ("train", "train_labels"))
    given, true = files.load_npz(folder / "cifar10n_labels.npz", (column,))[column], stored["train_labels"]
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(true))
    if wrong is not None:
        mistaken = given[rows] != true[rows]
        right = rows[~mistaken]
        rows = rng.permutation(
            np.concatenate([right, rows[mistaken][: int(wrong / (1 - wrong) * len(right))]])
        )
    rows = rows[:LARGEST]
    return Labelled(stored["train"][rows], given[rows], true[rows])


def _packages(folder: Path, seed: int) -> Labelled:
    """Debian's packages by section, as their packagers state it; 10,000 of them."""
    stored = files.load_npz(folder / "package_features.npz", ("train", "train_labels", "given_labels"))
    rows = np.random.default_rng(seed).permutation(len(stored["train"]))[:LARGEST]
    return Labelled(stored["train"][rows], stored["given_labels"][rows], stored["train_labels"][rows])


@functools.cache
def _package_tags() -> Labelled:
    """Debian's packages by section, as volunteers' tags say."""
    return Labelled(*package_tags.load())


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, their classes, and label-free features."""
    images, true = small_images.digits()
    return images, true, small_images.patch_features(images)


@functools.cache
def _letters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, their classes, and label-free features."""
    images, true = small_images.letters()
    return images, true, small_images.patch_features(images, patch=5, centroids=96, components=128)


def _stream(seed: int) -> np.random.Generator:
    """For annotators: another stream than that of the clean rows, so that the two draws are independent."""
    return np.random.default_rng((seed, 1))


def _by_beginner(source: Callable, wrong: float, taught: int, block: int, seed: int) -> Labelled:
    """Labels by one annotator who was taught few rows of each class and sees blocks of pixels."""
    images, true, features = source()
    rng, views = _stream(seed), small_images.blurred(images, block)
    lesson, rows = set_aside(true, taught, rng)
    logits = weak_logits(views[lesson], true[lesson], views[rows])
    return Labelled(features[rows], draw(logits, true[rows], wrong, rng), true[rows])


def _by_crowd(seed: int) -> Labelled:
    """Digits, each labelled by one of five annotators, who are wrong in 5 to 60 % of all rows."""
    images, true, features = _digits()
    rng, answers = _stream(seed), []
    pool, rows = set_aside(true, 20, rng)
    for wrong, taught, block in ((0.05, 15, 1), (0.1, 10, 2), (0.2, 5, 2), (0.35, 3, 2), (0.6, 2, 4)):
        views, lesson = small_images.blurred(images, block), pool[set_aside(true[pool], taught, rng)[0]]
        answers.append(draw(weak_logits(views[lesson], true[lesson], views[rows]), true[rows], wrong, rng))
    given = np.stack(answers)[rng.integers(0, len(answers), len(rows)), np.arange(len(rows))]
    return Labelled(features[rows], given, true[rows])


def _border(seed: int) -> Labelled:
    """Two classes, 15 % positive, with mistakes where an annotator who sees 20 of 30 features is unsure."""
    features, true = make_classification(
        6000, 30, n_informative=12, n_redundant=6, weights=(0.85,), class_sep=1.5, flip_y=0, random_state=0
    )
    rng, true = _stream(seed), true.astype(np.int32)
    views = features[:, rng.permutation(features.shape[1])[:20]]
    lesson, rows = set_aside(true, 100, rng)
    logits = weak_logits(views[lesson], true[lesson], views[rows])
    return Labelled(features[rows], draw(logits, true[rows], 0.1, rng), true[rows])


def _sees_more(seed: int) -> Labelled:
    """Digits by an annotator who saw the whole image, of which the features keep little: trust the labels."""
    images, true, features = _digits()
    rng, pixels = _stream(seed), images.reshape(len(images), -1)
    model = LogisticRegression(max_iter=500)
    logits = np.log(cross_val_predict(model, pixels, true, cv=5, method="predict_proba") + 1e-9)
    few = PCA(8, random_state=0).fit_transform(features)
    few += rng.normal(0, 0.35, few.shape) * few.std(axis=0)
    return Labelled(few, draw(logits, true, 0.04, rng), true)


def _follows_features(seed: int) -> Labelled:
    """Digits by a linear rule on four of the twelve features, which a classifier of the labels learns."""
    _, true, features = _digits()
    lesson, rows = set_aside(true, 20, _stream(seed))
    logits = weak_logits(features[lesson, :4], true[lesson], features[rows, :4])
    return Labelled(features[rows, :12], logits.argmax(axis=1), true[rows])


FROM_FOLDER: dict[str, Callable[[Path, int], Labelled]] = {
    "news": _news,
    "aggregate": functools.partial(_cifar10n, "aggre_label", None),
    "three-percent": functools.partial(_cifar10n, "aggre_label", 0.03),
    "worst": functools.partial(_cifar10n, "worse_label", None),
    "packages": _packages,
}
OWN: dict[str, Callable[[int], Labelled]] = {
    "package-tags": lambda seed: _package_tags(),
    "digits-8": functools.partial(_by_beginner, _digits, 0.08, 20, 1),
    "digits-20": functools.partial(_by_beginner, _digits, 0.2, 5, 2),
    "digits-40": functools.partial(_by_beginner, _digits, 0.4, 3, 2),
    "digits-crowd": _by_crowd,
    "digits-sees-more": _sees_more,
    "digits-follows-features": _follows_features,
    "letters-3": functools.partial(_by_beginner, _letters, 0.03, 40, 1),
    "letters-20": functools.partial(_by_beginner, _letters, 0.2, 15, 1),
    "border": _border,
}
