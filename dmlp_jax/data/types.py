"""Defines `Dataset` (a data set as loaded) and `Problem` (its clean, noisy and test parts)."""

from typing import NamedTuple

import numpy as np

from dmlp_jax.data.images.lazy import Images


class Dataset(NamedTuple):
    """A data set as loaded.

    Inputs are images [n, h, w, channels] uint8, in memory or in files, or features [n, d].

    Attributes:
        inputs: the training pool.
        labels: true labels of the pool [n], int32; None if unknown.
        test_inputs: the test set [t, ...]; None without one.
        test_labels: true labels of the test set [t], int32; None without one.
        class_names: one per class.
        given_labels: noisy labels [n] that came with the data; None for data sets with true labels only.
        val_inputs: the data set's own clean set [m, ...]; None if it is to be drawn from the pool.
        val_labels: true labels of the clean set [m], int32; None if it is to be drawn from the pool.
        val_given_labels: labels of the noisy source for the clean set [m], int32, -1 where unknown; None if
            all are unknown.
        superclasses: superclass of every class [c], for `noise.name=superclass`; None if there are none.
        files: checksum of the names and sizes of the image files; None if the data are not image files.
        names: paths of the pool's image files [n]; None if the data are not image files.
        val_random: whether each row of the clean set was drawn at random [m], bool; None if all were.
    """

    inputs: Images
    labels: np.ndarray | None
    test_inputs: Images | None
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]
    given_labels: np.ndarray | None = None
    val_inputs: Images | None = None
    val_labels: np.ndarray | None = None
    val_given_labels: np.ndarray | None = None
    superclasses: np.ndarray | None = None
    files: int | None = None
    names: np.ndarray | None = None
    val_random: np.ndarray | None = None


class Problem(NamedTuple):
    """A labelling problem: a noisy training set, a clean set, perhaps a test set.

    Attributes:
        train_inputs: [n, ...].
        given_labels: noisy labels [n], int32.
        true_labels: [n], int32, for reporting only; None if unknown.
        val_inputs: inputs of the clean set [m, ...].
        val_labels: true labels of the clean set [m], int32.
        val_given_labels: labels of the noisy source for the clean set [m], int32, -1 where unknown; None if
            all are unknown.
        test_inputs: [t, ...] or None.
        test_labels: [t], int32, or None.
        class_names: one per class.
        val_random: whether each clean row was drawn at random [m], bool; None if all were.
    """

    train_inputs: Images
    given_labels: np.ndarray
    true_labels: np.ndarray | None
    val_inputs: Images
    val_labels: np.ndarray
    val_given_labels: np.ndarray | None
    test_inputs: Images | None
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]
    val_random: np.ndarray | None = None
