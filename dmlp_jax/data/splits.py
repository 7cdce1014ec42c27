"""Splits a data set into clean set, noisy training set and test set; seeded, and saved to split.npz."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.data import noise
from dmlp_jax.data.images import lazy
from dmlp_jax.data.sets import human
from dmlp_jax.data.types import Dataset, Problem
from dmlp_jax.errors import UserError
from dmlp_jax.storage import files

# Independent random streams under one seed.
_SPLIT, _TRAIN_NOISE, _VAL_NOISE = range(3)


def make_split(dataset: Dataset, config: ConfigDict) -> dict[str, np.ndarray]:
    """Draws the clean set and the given labels; the remaining rows are the noisy training set.

    Args:
        dataset: from `datasets.load`.
        config: the whole configuration; `seed`, `val` and `noise` are read.

    Returns:
        Arrays for split.npz: 'train_index' [n] into the data set's training pool; 'val_index' [m] into its
        own clean set if it has one, else into the pool; 'test_index' [t], 'given_labels' [n], 'val_labels'
        [m]; 'val_given_labels' [m], -1 where unknown, if the data say it and `val.given_labels` is not False;
        and 'val_random' [m] if the data say it.

    Raises:
        UserError: the clean set or the noise cannot be drawn as configured.
    """
    count = len(dataset.inputs)
    test_index = np.arange(0 if dataset.test_inputs is None else len(dataset.test_inputs))
    if dataset.given_labels is not None:
        assert dataset.val_labels is not None  # Data sets with given labels have a clean set.
        val_index = draw_share(
            dataset.val_labels, config.val.share, np.random.default_rng([config.seed, _SPLIT])
        )
        split = {
            "train_index": np.arange(count),
            "val_index": val_index,
            "test_index": test_index,
            "given_labels": dataset.given_labels,
            "val_labels": dataset.val_labels[val_index],
        }
        if config.val.given_labels and dataset.val_given_labels is None:
            raise UserError(
                "val.given_labels is True, but the data do not say which labels the clean rows were given; "
                "leave it out to use them where they are known"
            )
        if config.val.given_labels is not False and dataset.val_given_labels is not None:
            split["val_given_labels"] = dataset.val_given_labels[val_index]
        if dataset.val_random is not None:
            split["val_random"] = dataset.val_random[val_index]
        return split
    assert dataset.labels is not None  # Data sets without given labels have true labels.
    classes = len(dataset.class_names)
    rng = np.random.default_rng([config.seed, _SPLIT])
    val_index = draw_clean_set(dataset.labels, config.val.size, classes, config.val.stratified, rng)
    train_index = np.setdiff1d(np.arange(count), val_index)
    given, val_given = _noisy(dataset, train_index, val_index, config)
    split = {
        "train_index": train_index,
        "val_index": val_index,
        "test_index": test_index,
        "given_labels": given,
        "val_labels": dataset.labels[val_index],
    }
    if config.val.given_labels is not False:
        split["val_given_labels"] = val_given
    return split


def draw_clean_set(
    labels: np.ndarray, size: int, num_classes: int, stratified: bool, rng: np.random.Generator
) -> np.ndarray:
    """Draws the clean rows; returns their sorted indices [size].

    Args:
        labels: true labels [n].
        size: number of rows, at least one per class and fewer than n.
        num_classes: c.
        stratified: draw size // c rows of every class, plus one from each of size % c random classes;
            otherwise draw uniformly at random.
        rng: random generator.

    Raises:
        UserError: `size` is out of range, a class has too few rows, or a random set misses a class.
    """
    if not num_classes <= size < len(labels):
        raise UserError(
            f"val.size is {size}; it must be at least one per class ({num_classes}) and leave rows to "
            f"train on ({len(labels)} in all)"
        )
    if not stratified:
        chosen = rng.choice(len(labels), size, replace=False)
        absent = np.setdiff1d(np.arange(num_classes), labels[chosen])
        if absent.size:
            raise UserError(
                f"the random clean set of {size} has no row of class {absent[0]}; take a larger "
                "val.size, another seed or --config.val.stratified=True"
            )
        return np.sort(chosen)
    quota = np.full(num_classes, size // num_classes)
    quota[rng.permutation(num_classes)[: size % num_classes]] += 1
    parts = []
    for label in range(num_classes):
        members = np.flatnonzero(labels == label)
        if len(members) < quota[label]:
            raise UserError(
                f"class {label} has {len(members)} rows, fewer than the {quota[label]} that val.size {size} "
                "takes from it; lower val.size"
            )
        parts.append(rng.choice(members, quota[label], replace=False))
    return np.sort(np.concatenate(parts))


def draw_share(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draws a share of each class of a clean set, at least one row per class; returns sorted indices.

    Args:
        labels: true labels [m].
        share: in (0, 1]; 1 takes all rows.
        rng: random generator.

    Raises:
        UserError: the share is outside (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(f"val.share is {share}; it must lie in (0, 1]")
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(rng.permutation(members)[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def save_split(path: Path, split: dict[str, np.ndarray]) -> None:
    """Writes split.npz."""
    files.save_npz(path, split)


def load_split(path: Path) -> dict[str, np.ndarray]:
    """Reads split.npz."""
    return files.load_npz(path, ("train_index", "val_index", "test_index", "given_labels", "val_labels"))


def make_problem(dataset: Dataset, split: dict[str, np.ndarray]) -> Problem:
    """Selects the rows of a split from its data set."""
    clean_pool = dataset.inputs if dataset.val_inputs is None else dataset.val_inputs
    return Problem(
        train_inputs=lazy.take(dataset.inputs, split["train_index"]),
        given_labels=split["given_labels"],
        true_labels=None if dataset.labels is None else dataset.labels[split["train_index"]],
        val_inputs=lazy.take(clean_pool, split["val_index"]),
        val_labels=split["val_labels"],
        val_given_labels=split.get("val_given_labels"),
        test_inputs=dataset.test_inputs,
        test_labels=dataset.test_labels,
        class_names=dataset.class_names,
        val_random=split.get("val_random"),
    )


def _noisy(
    dataset: Dataset, index: np.ndarray, val_index: np.ndarray, config: ConfigDict
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy labels of the pool's rows `index` [n] and `val_index` [m] under the configured noise."""
    assert dataset.labels is not None  # Noise is added only to data sets with true labels.
    settings, true = config.noise, dataset.labels
    classes = len(dataset.class_names)
    rng, val_rng = (np.random.default_rng([config.seed, stream]) for stream in (_TRAIN_NOISE, _VAL_NOISE))
    if settings.name == "human":
        if not settings.path:
            raise UserError("noise.name 'human' needs noise.path, the authors' .pt file, and noise.column")
        found = human.load(Path(settings.path).expanduser(), settings.column, true)
        return found[index], found[val_index]
    if settings.name == "instance":
        # One source gives the labels of both, so that those of the clean rows show its mistakes.
        parts = [
            noise.Rows(dataset.inputs[rows], true[rows], stream)
            for rows, stream in ((index, rng), (val_index, val_rng))
        ]
        given, val_given = noise.corrupt_parts_by_instance(parts, settings.rate, classes)
        return given, val_given

    def corrupt(labels, stream):
        return noise.corrupt(
            labels,
            settings.name,
            settings.rate,
            classes,
            stream,
            exclude_true_class=settings.exclude_true_class,
            superclasses=dataset.superclasses,
        )

    # The clean rows are some of a pool that was corrupted as a whole: the rounded rate of the few rows of a
    # class would be another rate.
    return corrupt(true[index], rng), corrupt(true, val_rng)[val_index]
