"""The containers that data sets travel in."""

from typing import NamedTuple

import numpy as np

from dmlp_jax.data.images.lazy import Images


class Dataset(NamedTuple):
    """A data set. Inputs are images [n, h, w, channels] uint8, in memory or in files, or features [n, d].

    Attributes:
        inputs: the training pool.
        labels: its true labels [n], int32; None where nobody knows them.
        test_inputs: None without a test set.
        test_labels: [t], int32; None without a test set.
        class_names: one per class.
        given_labels: labels [n] that came with the data, of unknown quality; None for clean data sets.
        val_inputs: a clean set of its own; None where one is to be drawn from the pool.
        val_labels: [m], int32; None likewise.
        val_given_labels: [m], int32, what the noisy source said of the clean set; None where unknown.
        superclasses: the superclass of every class [c], for `noise.name=superclass`; None without.
        files: a checksum of the names and sizes of the image files; None for other data sets.
        names: paths of the pool's image files [n]; None likewise.
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


class Problem(NamedTuple):
    """A labelling problem: a noisy training set, a clean set, perhaps a test set.

    Attributes:
        train_inputs: [n, ...].
        given_labels: [n], int32, partly wrong.
        true_labels: [n], int32, for reporting only; None where unknown.
        val_inputs: [m, ...], clean.
        val_labels: [m], int32, true.
        val_given_labels: [m], int32, what the noisy source said of the clean rows; None where unknown.
        test_inputs: [t, ...] or None.
        test_labels: [t], int32, or None.
        class_names: one per class.
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
