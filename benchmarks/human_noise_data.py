"""Loads data sets whose labels have mistakes as people make them: dependent on the row and its features.

    python benchmarks/human_noise_data.py [FOLDER] [--cases=digits-8,letters-3] [--clean=200]

prints how large and how hard each is. `FROM_FOLDER` are labels that people gave, read from a folder with

- news_noisy_text.npz: features, given_labels, true_labels, of NoisyAG-News;
- cifar10_features.npz: train, train_labels, as patch_features.py writes; cifar10n_labels.npz: aggre_label,
  worse_label, of CIFAR-10N, in the order of CIFAR-10;
- package_features.npz, as package_features.py writes.

`OWN` need nothing but installed packages. `package-tags` are labels by people; in the others a simulated
annotator makes the mistakes, a new one for each seed. Nothing is written to disk.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import package_tags
import small_images
from common import markdown
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


class HumanNoise(NamedTuple):
    """Training rows and clean rows; of both the given and the true labels.

    Attributes:
        features: of the training rows, [n, d] float32.
        given: their given labels [n].
        true: their true labels [n], for reporting only.
        val_features: of the clean rows, [m, d] float32.
        val_true: their true labels [m].
        val_given: what they were given before they were reviewed [m].
        num_classes: number of classes.
    """

    features: np.ndarray
    given: np.ndarray
    true: np.ndarray
    val_features: np.ndarray
    val_true: np.ndarray
    val_given: np.ndarray
    num_classes: int


def load(name: str, clean: int, seed: int, folder: Path | str | None = None) -> HumanNoise:
    """A data set by name with about `clean` clean rows, as many of every class.

    Args:
        name: of `FROM_FOLDER` or `OWN`.
        clean: number of clean rows; a class gives the same number, at least one, at most half of its rows.
        seed: draws the clean rows, and the annotator where it is simulated.
        folder: where the files of `FROM_FOLDER` are.
    """
    return split_off(labelled(name, seed, folder), clean, seed)


def labelled(name: str, seed: int, folder: Path | str | None = None) -> Labelled:
    """All rows of a data set; see `load`."""
    if name in OWN:
        return OWN[name](seed)
    if name not in FROM_FOLDER:
        raise ValueError(f"no data set is called {name!r}; there are {', '.join((*FROM_FOLDER, *OWN))}")
    if folder is None:
        raise ValueError(f"{name!r} is read from a folder; see benchmarks/human_noise_data.py for its files")
    return FROM_FOLDER[name](Path(folder), seed)


def split_off(rows: Labelled, clean: int, seed: int) -> HumanNoise:
    """Splits off a clean set stratified by class; the training rows keep their order."""
    classes = int(max(rows.true.max(), rows.given.max())) + 1
    order = np.random.default_rng(seed).permutation(len(rows.true))
    members = [order[rows.true[order] == label] for label in range(classes)]
    each = max(clean // classes, 1)
    val = np.concatenate([of_class[: min(each, len(of_class) // 2)] for of_class in members])
    train = np.setdiff1d(order, val)
    features, given, true = (
        rows.features.astype(np.float32), rows.given.astype(np.int32), rows.true.astype(np.int32)
    )  # fmt: skip
    return HumanNoise(
        features[train], given[train], true[train], features[val], true[val], given[val], classes
    )


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
def _package_tags(seed: int = 0) -> Labelled:
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
    """Digits by a linear rule on the very features, learned from few rows: every mistake looks right."""
    _, true, features = _digits()
    lesson, rows = set_aside(true, 10, _stream(seed))
    logits = weak_logits(features[lesson], true[lesson], features[rows])
    return Labelled(features[rows], logits.argmax(axis=1), true[rows])


FROM_FOLDER: dict[str, Callable[[Path, int], Labelled]] = {
    "news": _news,
    "aggregate": functools.partial(_cifar10n, "aggre_label", None),
    "three-percent": functools.partial(_cifar10n, "aggre_label", 0.03),
    "worst": functools.partial(_cifar10n, "worse_label", None),
    "packages": _packages,
}
OWN: dict[str, Callable[[int], Labelled]] = {
    "package-tags": _package_tags,
    "digits-8": functools.partial(_by_beginner, _digits, 0.08, 20, 1),
    "digits-20": functools.partial(_by_beginner, _digits, 0.2, 5, 2),
    "digits-40": functools.partial(_by_beginner, _digits, 0.4, 3, 2),
    "digits-crowd": _by_crowd,
    "digits-sees-more": _sees_more,
    "digits-follows-features": _follows_features,
    "letters-3": functools.partial(_by_beginner, _letters, 0.03, 40, 2),
    "letters-20": functools.partial(_by_beginner, _letters, 0.2, 10, 2),
    "border": _border,
}


def main() -> None:
    """Prints a table of the data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="with the files of labels by people")
    parser.add_argument("--cases", help="names, comma-separated; all by default")
    parser.add_argument("--clean", type=int, default=200, help="number of clean rows")
    arguments = parser.parse_args()
    names = (
        arguments.cases.split(",") if arguments.cases else [*(FROM_FOLDER if arguments.folder else ()), *OWN]
    )
    header = [
        "data set",
        "rows",
        "features",
        "classes",
        "clean rows",
        "given labels right, %",
        "of clean rows, %",
    ]
    header.append("logistic regression on all true labels, held out, %")
    rows = []
    for name in names:
        data = load(name, arguments.clean, 0, arguments.folder)
        right, val_right = np.mean(data.given == data.true), np.mean(data.val_given == data.val_true)
        sizes = [*data.features.shape, data.num_classes, len(data.val_true)]
        shares = [f"{100 * share:.1f}" for share in (right, val_right, supervised(data))]
        rows.append([name, *(f"{size:,}" for size in sizes), *shares])
        print(" | ".join(rows[-1]), flush=True)
    print("\n" + markdown(header, rows))


def supervised(data: HumanNoise) -> float:
    """Accuracy, in five folds of the training rows, of logistic regression trained on true labels."""
    scaled = (data.features - data.features.mean(axis=0)) / (data.features.std(axis=0) + 1e-6)
    model = LogisticRegression(C=0.03, max_iter=200)
    return float(np.mean(cross_val_predict(model, scaled, data.true, cv=5) == data.true))


if __name__ == "__main__":
    main()
