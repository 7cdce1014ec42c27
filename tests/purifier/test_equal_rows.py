"""Tables in which rows occur several times: what copies tell about each other."""

import jax
import numpy as np

from dmlp_jax import purify
from tests.conftest import make_blobs


def test_equal_clean_rows_are_not_held_out_from_each_other():
    """Labels that nobody can predict are not predicted by their copies in other folds."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 200)).astype(np.float32), rng.integers(3, size=60)
    noisy = rng.normal(size=(100, 200)).astype(np.float32), rng.integers(3, size=100)
    # A table with every row twice.
    twice = np.tile(features, (2, 1)), np.tile(labels, 2)
    found = purify(*np.float32(noisy[:1]), noisy[1], twice, num_classes=3, key=jax.random.key(1))
    for name in ("val_only_probe", "noisy_plus_val_probe"):
        assert float(found.scores[name]["accuracy"]) < 0.55


def test_a_doubled_table_is_purified_nearly_as_its_rows_once():
    """Training rows that are copies do see each other; with more rows than features that matters little."""
    features, given, val, true = make_blobs(3)
    once = purify(features, given, val, key=jax.random.key(0))
    twice = purify(
        np.tile(features, (2, 1)), np.tile(given, 2), tuple(np.tile(part.T, 2).T for part in val),
        key=jax.random.key(0),
    )  # fmt: skip
    alike = np.mean(np.asarray(twice.labels)[: len(given)] == np.asarray(once.labels))
    assert alike > 0.97
    right = [np.mean(np.asarray(labels) == true) for labels in (once.labels, twice.labels[: len(given)])]
    assert abs(right[0] - right[1]) < 0.02
    # The score of the purified labels is that of the rows once, not that of copies.
    scores = [float(found.scores["purified"]["accuracy"]) for found in (once, twice)]
    assert scores[1] < scores[0] + 0.07
