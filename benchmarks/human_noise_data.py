"""Loads data sets whose labels have mistakes as people make them: dependent on the row and its features.

    python benchmarks/human_noise_data.py [FOLDER] [--cases=digits-8,letters-3] [--clean=200]

tells how large and how hard each is. `FROM_FOLDER` are labels that people gave, read from a folder with

- news_noisy_text.npz: features, given_labels, true_labels, of NoisyAG-News;
- cifar10_features.npz: train, train_labels, as patch_features.py writes; cifar10n_labels.npz: aggre_label,
  worse_label, of CIFAR-10N, in the order of CIFAR-10;
- package_features.npz, as package_features.py writes.

`OWN` need nothing but installed packages. `package-tags` are labels by people; in the others a simulated
annotator makes the mistakes, a new one for each seed. human_noise_sets.py makes the sets; nothing is
written to disk.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import markdown, write
from human_noise_sets import FROM_FOLDER, OWN, Labelled
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

HEADER = [
    "data set", "rows", "features", "classes", "clean rows", "given labels right, %",
    "those of clean rows, %", "logistic regression on all true labels, held out, %",
]  # fmt: skip


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
        val_random: whether each clean row was drawn at random, [m]; None if all were.
    """

    features: np.ndarray
    given: np.ndarray
    true: np.ndarray
    val_features: np.ndarray
    val_true: np.ndarray
    val_given: np.ndarray
    num_classes: int
    val_random: np.ndarray | None = None


def load(
    name: str, clean: int, seed: int, folder: Path | str | None = None, rows: int | None = None
) -> HumanNoise:
    """A data set by name with about `clean` clean rows, as many of every class.

    Args:
        name: of `FROM_FOLDER` or `OWN`.
        clean: number of clean rows; a class gives the same number, at least one, at most half of its rows.
        seed: draws the clean rows, and the annotator where it is simulated.
        folder: where the files of `FROM_FOLDER` are.
        rows: most training rows, drawn at random; None for all.
    """
    data = split_off(labelled(name, seed, folder), clean, seed)
    if rows is None or len(data.given) <= rows:
        return data
    kept = np.sort(np.random.default_rng(seed).choice(len(data.given), rows, replace=False))
    return data._replace(features=data.features[kept], given=data.given[kept], true=data.true[kept])


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
    features, given, true = rows.features.astype(np.float32), *(of.astype(np.int32) for of in rows[1:])
    return HumanNoise(
        features[train], given[train], true[train], features[val], true[val], given[val], classes
    )


def main() -> None:
    """Prints a table of the data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="with the files of labels by people")
    parser.add_argument("--cases", help="names, comma-separated; all by default")
    parser.add_argument("--clean", type=int, default=200, help="number of clean rows")
    parser.add_argument("--name", help="writes the table to benchmarks/results under this name")
    arguments = parser.parse_args()
    names = [*(FROM_FOLDER if arguments.folder else ()), *OWN]
    names = arguments.cases.split(",") if arguments.cases else names
    rows = []
    for name in names:
        data = load(name, arguments.clean, 0, arguments.folder)
        right, val_right = np.mean(data.given == data.true), np.mean(data.val_given == data.val_true)
        sizes = [*data.features.shape, data.num_classes, len(data.val_true)]
        shares = [f"{100 * share:.1f}" for share in (right, val_right, supervised(data))]
        rows.append([name, *(f"{size:,}" for size in sizes), *shares])
        print(" | ".join(rows[-1]), flush=True)
    table = markdown(HEADER, rows)
    if arguments.name:
        write(arguments.name, "Data sets with mistakes as people make them, seed 0", table)
    else:
        print("\n" + table)


def supervised(data: HumanNoise) -> float:
    """Accuracy, in five folds of the training rows, of logistic regression trained on true labels."""
    scaled = (data.features - data.features.mean(axis=0)) / (data.features.std(axis=0) + 1e-6)
    model = LogisticRegression(C=0.03, max_iter=200)
    return float(np.mean(cross_val_predict(model, scaled, data.true, cv=5) == data.true))


if __name__ == "__main__":
    main()
