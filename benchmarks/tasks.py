"""Makes purification tasks from stored features: a clean set, and training rows with noisy labels.

The features come from an npz with train [n, d] and train_labels [n], such as patch_features.py writes. Splits
and noisy labels are drawn by seed, or read from a second npz that holds, for every split s, train_index_s,
val_index_s and the noisy labels <noise>_s of the training rows. The noise `HUMAN` is not drawn: it stands for
the given_labels [n] of the first file, as written by package_features.py.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmlp_jax.data import noise as noise_lib
from dmlp_jax.storage import files

PROTOCOLS = {"sym": "symmetric", "asym": "asymmetric", "pair": "pair", "instance": "instance"}
HUMAN = "human"


class Task(NamedTuple):
    """One task; `true_labels` are for reporting only. `val_given_labels` is None with stored noisy labels."""

    features: np.ndarray
    labels: np.ndarray
    val_features: np.ndarray
    val_labels: np.ndarray
    val_given_labels: np.ndarray | None
    true_labels: np.ndarray


def add_arguments(
    parser: argparse.ArgumentParser, noises: str | None = "sym20,sym50,sym80,sym90,asym40"
) -> None:
    """The arguments that `of_noise` reads; with `noises` None no choice of noise, since none is drawn."""
    parser.add_argument("--features", type=Path, required=True)
    parser.set_defaults(labels=None)
    if noises is not None:
        parser.add_argument("--labels", type=Path, help="stored splits and noisy labels; drawn if absent")
        parser.add_argument(
            "--noises", default=noises, help="names like sym80, asym40, pair45, instance40; human"
        )
    parser.add_argument("--splits", default="0,1,2", help="seeds of split and noise")
    parser.add_argument("--rows", type=int, help="training rows, all by default")
    parser.add_argument(
        "--clean-set",
        choices=("balanced", "random"),
        default="balanced",
        help="as many clean rows of every class, or two of each and the rest as the classes come",
    )
    parser.add_argument(
        "--imbalance",
        type=float,
        default=1.0,
        help="thin out the training rows until the first class has this many times as many as the last, "
        "each class by the same factor fewer than the one before (Cui et al. 2019); for drawn noise and even "
        "clean sets",
    )


def of_noise(noise: str, clean: int, arguments: argparse.Namespace) -> Iterator[Task]:
    """The tasks of one noise and number of clean rows, one for each split."""
    needed = ("train", "train_labels", "given_labels")
    stored = files.load_npz(arguments.features, needed if noise == HUMAN else needed[:2])
    features, true = stored["train"], stored["train_labels"].astype(np.int32)
    if arguments.labels and arguments.imbalance != 1:
        raise ValueError("--imbalance does not go with --labels: stored noisy labels are of all rows")
    if arguments.clean_set == "random" and arguments.imbalance != 1:
        raise ValueError(
            "--imbalance thins out the rows that are left; a random clean set would not be theirs"
        )
    known = files.load_npz(arguments.labels) if arguments.labels else None
    draw = stratified if arguments.clean_set == "balanced" else unstratified
    for split in arguments.splits.split(","):
        rng = np.random.default_rng(int(split))
        if known is None:
            train, val = draw(true, clean, rng)
        else:
            train, val = known[f"train_index_{split}"], known[f"val_index_{split}"]
            if clean < len(val):
                val = val[draw(true[val], clean, rng)[1]]
        train = thinned(train, true[train], arguments.imbalance)
        if noise == HUMAN:
            labels, given = stored["given_labels"][train], stored["given_labels"][val]
        elif known is None:
            labels = corrupt(features[train], true[train], noise, rng)
            given = corrupt(features[val], true[val], noise, rng)
        else:
            labels, given = known[f"{noise}_{split}"], None
        rows = slice(arguments.rows)
        clean_rows = (features[val], true[val], given)
        yield Task(features[train[rows]], labels[rows], *clean_rows, true[train[rows]])


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Training rows in random order, and `count` clean rows, as many of every class as of any other."""
    classes = labels.max() + 1
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in range(classes):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members)) * classes + label
    by_rank = np.argsort(rank, kind="stable")
    clean = by_rank[:count]
    return order[~np.isin(order, clean)], clean


def unstratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Training rows in random order, and `count` clean rows: two of every class, and any others."""
    order = rng.permutation(len(labels))
    members = [order[labels[order] == label] for label in range(labels.max() + 1)]
    pairs = np.concatenate([rows[:2] for rows in members])
    if count < len(pairs):
        raise ValueError(
            f"a random clean set holds two rows of each class, {len(pairs)}; {count} were asked for"
        )
    clean = np.concatenate([pairs, order[~np.isin(order, pairs)]])[:count]
    return order[~np.isin(order, clean)], clean


def thinned(rows: np.ndarray, labels: np.ndarray, imbalance: float) -> np.ndarray:
    """Those of `rows` [n], with classes `labels`, that are left by --imbalance; at 1 all of them."""
    if imbalance == 1:
        return rows
    sizes = np.bincount(labels)
    wanted = sizes.min() * imbalance ** -np.linspace(0, 1, len(sizes))
    rank = np.empty(len(rows), np.int64)
    for label, size in enumerate(sizes):
        rank[labels == label] = np.arange(size)
    return rows[rank < wanted[labels]]


def corrupt(inputs: np.ndarray, labels: np.ndarray, noise: str, rng: np.random.Generator) -> np.ndarray:
    """Noisy labels by a name like 'sym80': protocol and percent."""
    kind, percent = re.fullmatch(r"([a-z]+)(\d+)", noise).groups()
    rate, classes = int(percent) / 100, int(labels.max()) + 1
    if kind == "instance":
        return noise_lib.corrupt_by_instance(inputs, labels, rate, classes, rng)
    return noise_lib.corrupt(labels, PROTOCOLS[kind], rate, classes, rng)
