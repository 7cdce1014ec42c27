"""What must not change the result, candidate and round fixed; where rows may lie; odd numbers of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax import InputError, purify
from dmlp_jax.purifier import compiled
from dmlp_jax.purifier.rows import chunks
from tests.conftest import FIXED, fresh_programs, make_blobs

HISTORY = dataclasses.replace(FIXED, keep_label_history=True)

# In the slow tests where others hold nearly the same: each compiles a program.
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def fixed(blobs):
    features, given, val, _ = blobs
    return purify(features, given, val, config=FIXED)


def test_names_of_the_classes_do_not_matter(blobs, fixed):
    """Except the folds, which are drawn class by class."""
    features, given, (val_features, val_labels), _ = blobs
    order = np.array([2, 0, 1])
    found = purify(features, order[given], (val_features, order[val_labels]), config=FIXED)
    assert np.abs(np.asarray(found.probs)[:, order] - np.asarray(fixed.probs)).mean() < 0.02
    assert np.mean(order[np.asarray(fixed.labels)] == np.asarray(found.labels)) > 0.98
    np.testing.assert_allclose(
        np.asarray(found.transition)[np.ix_(order, order)], fixed.transition, atol=0.05
    )


def test_a_rotation_of_the_features_does_not_matter(blobs, fixed):
    features, given, (val_features, val_labels), _ = blobs
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    turned = [(x @ rotation).astype(np.float32) for x in (features, val_features)]
    found = purify(turned[0], given, (turned[1], val_labels), config=FIXED)
    np.testing.assert_allclose(found.probs, fixed.probs, atol=1e-4)


def test_rows_that_are_equal_get_equal_labels(blobs):
    features, given, val, _ = blobs
    twice = np.r_[np.arange(260), np.arange(40)]
    found = purify(features[twice], given[twice], val, config=FIXED)
    np.testing.assert_allclose(found.probs[260:], found.probs[:40], atol=1e-6)
    np.testing.assert_array_equal(found.labels[260:], found.labels[:40])


@pytest.mark.slow
def test_columns_that_say_nothing_do_not_matter(blobs, fixed):
    """Constant columns, and a column twice: collinear, so that the Gram matrix is singular."""
    features, given, (val_features, val_labels), _ = blobs
    constant = [np.c_[x, np.full((len(x), 2), 7.0, np.float32)] for x in (features, val_features)]
    found = purify(constant[0], given, (constant[1], val_labels), config=FIXED)
    assert np.mean(np.asarray(found.labels) == np.asarray(fixed.labels)) > 0.99
    double = [np.c_[x, x[:, :2]] for x in (features, val_features)]
    found = purify(double[0], given, (double[1], val_labels), config=FIXED)
    assert np.mean(np.asarray(found.labels) == np.asarray(fixed.labels)) > 0.97


@slow
@pytest.mark.parametrize("kind", [np.int16, np.uint8])
def test_features_may_be_integers(blobs, kind):
    features, given, (val_features, val_labels), _ = blobs
    low, high = features.min(), features.max()
    pixels = [np.round(255 * (x - low) / (high - low)) for x in (features, val_features.clip(low, high))]
    reference = purify(pixels[0], given, (pixels[1], val_labels), config=FIXED)
    found = purify(pixels[0].astype(kind), given, (pixels[1].astype(kind), val_labels), config=FIXED)
    np.testing.assert_allclose(found.probs, reference.probs, atol=1e-5)


@pytest.fixture(scope="module")
def seven_chunk_programs():
    return fresh_programs()


@pytest.fixture
def seven_chunks(monkeypatch, seven_chunk_programs):
    """43 rows to a chunk: of 300, the last chunk has 42 and a row of padding."""
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES_CPU", 1)
    monkeypatch.setattr(chunks, "LEAST_ROWS", 43)
    for name, programs in seven_chunk_programs.items():
        monkeypatch.setattr(compiled, name, programs)


@pytest.mark.parametrize("soft", [pytest.param(False, marks=slow), True], ids=["indices", "distributions"])
def test_uneven_chunks_do_not_change_the_result(blobs, fixed, seven_chunks, soft):
    features, given, val, _ = blobs
    assert chunks.chunk_rows(300, 12) == 43
    labels = np.eye(3, dtype=np.float32)[given] if soft else given
    weight = np.ones(300, np.float32) if soft else None
    found = purify(features, labels, val, config=HISTORY, sample_weight=weight)
    np.testing.assert_allclose(found.probs, fixed.probs, atol=1e-4)
    np.testing.assert_array_equal(found.labels, fixed.labels)
    assert found.history["labels"].shape == (30, 300)
    assert found.history["labels"].dtype == np.uint8
    assert np.mean(np.asarray(found.history["labels"][-1]) == np.asarray(found.labels)) > 0.98


def weighted(given):
    """Weights, and labels that are not certain."""
    soft = 0.9 * np.eye(3, dtype=np.float32)[given] + 0.1 / 3
    return np.linspace(0.5, 1.5, 300).astype(np.float32), soft


@pytest.mark.parametrize("selection", [False, pytest.param(True, marks=slow)])
def test_rows_on_disk_are_rows_in_memory(blobs, tmp_path, seven_chunks, selection):
    features, given, val, _ = blobs
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    # With a race, which reads the rows for all candidates at once and then for one.
    config = HISTORY
    if selection:
        config = dataclasses.replace(FIXED, selection=True, weight_decay=(300.0, 0.3), race_steps=3)
    weight, soft = weighted(given)
    memory, disk = (purify(x, soft, val, config=config, sample_weight=weight) for x in (features, mapped))
    np.testing.assert_allclose(disk.probs, memory.probs, atol=1e-4)
    np.testing.assert_array_equal(disk.labels, memory.labels)
    np.testing.assert_allclose(
        disk.scores["purified"]["cross_entropy"], memory.scores["purified"]["cross_entropy"], atol=1e-3
    )


def test_bad_values_on_disk_are_found(blobs, tmp_path):
    features, given, val, _ = blobs
    broken = features.copy()
    broken[123, 4] = np.nan
    np.save(tmp_path / "features.npy", broken)
    with pytest.raises(InputError, match=r"features\[123, 4\] is nan \(1 of 300 rows"):
        purify(np.load(tmp_path / "features.npy", mmap_mode="r"), given, val)


def test_a_file_that_fails_while_it_is_read_says_so(blobs, seven_chunks):
    class Failing:
        """Readable once, for the checks; the disk goes away afterwards."""

        def __init__(self, rows):
            self.rows, self.shape, self.dtype, self.reads = rows, rows.shape, rows.dtype, 0

        def __getitem__(self, index):
            self.reads += 1
            if self.reads > 2:
                raise OSError("disk is gone")
            return self.rows[index]

    features, given, val, _ = blobs
    weight, soft = weighted(given)
    with pytest.raises(Exception, match="disk is gone"):
        jax.block_until_ready(purify(Failing(features), soft, val, config=HISTORY, sample_weight=weight))


def test_one_clean_row_in_a_class_and_an_absent_given_class():
    features, given, (val_features, val_labels), true = make_blobs(0, val_rows=45)
    few = np.r_[np.flatnonzero(val_labels == 0)[:1], np.flatnonzero(val_labels != 0)[:29]]
    given = np.where(given == 2, 1, given)
    found = purify(features, given, (val_features[few], val_labels[few]), config=FIXED)
    probs = np.asarray(found.probs)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert np.mean(np.asarray(found.labels) == true) > np.mean(given == true)


@slow
def test_imbalance_of_a_hundred_to_one():
    rng = np.random.default_rng(0)
    true = np.r_[np.zeros(2000, int), np.ones(400, int), np.full(20, 2)]
    val_labels = np.repeat(np.arange(3), 10)
    features, val_features = (
        (3 * np.eye(3, 12)[labels] + rng.normal(size=(len(labels), 12))).astype(np.float32)
        for labels in (true, val_labels)
    )
    given = np.where(rng.random(len(true)) < 0.3, rng.integers(3, size=len(true)), true)
    found = np.asarray(purify(features, given, (val_features, val_labels), config=FIXED).labels)
    assert np.mean(found == true) > np.mean(given == true) + 0.1
    assert np.mean(found[true == 2] == 2) > 0.5


@slow
def test_a_hundred_classes_with_thirty_rows_each():
    """More entries of T than rows: what is not known of the noise must not be made up."""
    rng = np.random.default_rng(0)
    centres = 0.4 * rng.normal(size=(100, 64))
    true, val_labels = rng.integers(100, size=3000), np.arange(300) % 100
    features, val_features = (
        (centres[labels] + rng.normal(size=(len(labels), 64))).astype(np.float32)
        for labels in (true, val_labels)
    )
    given = np.where(rng.random(3000) < 0.5, rng.integers(100, size=3000), true)
    found = purify(features, given, (val_features, val_labels))
    own = np.mean(np.asarray(found.labels) == true)
    others = [np.mean(np.asarray(labels) == true) for labels in found.baselines.values()]
    assert own > max(*others, np.mean(given == true)) + 0.05
    assert abs(float(np.mean(found.confidence)) - own) < 0.1


def test_order_of_rows_does_not_matter(blobs, fixed):
    features, given, val, _ = blobs
    order = np.random.default_rng(0).permutation(300)
    found = purify(features[order], given[order], val, config=FIXED)
    np.testing.assert_allclose(found.probs, np.asarray(fixed.probs)[order], atol=2e-3)


def test_scale_and_origin_of_the_features_do_not_matter(blobs, fixed):
    features, given, (val_features, val_labels), _ = blobs
    moved = [50 * x + 7 for x in (features, val_features)]
    found = purify(moved[0], given, (moved[1], val_labels), config=FIXED)
    np.testing.assert_allclose(found.probs, fixed.probs, atol=5e-3)


def test_rows_of_weight_zero_do_not_count(blobs):
    features, given, val, _ = blobs
    weight = np.r_[np.ones(250), np.zeros(50)].astype(np.float32)
    poisoned = features.copy()
    poisoned[250:] = 100
    labels = np.eye(3, dtype=np.float32)[given]
    reference, found = (
        purify(x, labels, val, config=FIXED, sample_weight=weight) for x in (features, poisoned)
    )
    np.testing.assert_allclose(found.probs[:250], reference.probs[:250], atol=1e-3)


@slow
@pytest.mark.parametrize("kind", [np.float64, jnp.bfloat16])
def test_any_float_and_integer_type(blobs, fixed, kind):
    features, given, (val_features, val_labels), _ = blobs
    found = purify(
        jnp.asarray(features, kind) if kind is jnp.bfloat16 else features.astype(kind),
        given.astype(np.uint8),
        (val_features, val_labels.astype(np.int64)),
        config=FIXED,
    )
    assert found.probs.dtype == jnp.float32
    assert np.mean(np.asarray(found.labels) == np.asarray(fixed.labels)) > 0.97


def test_a_row_of_weight_two_is_two_rows(blobs):
    features, given, val, _ = blobs
    twice = np.r_[np.arange(290), np.arange(10)]
    # The last ten rows are not there.
    weight = np.r_[np.full(10, 2.0), np.ones(280), np.zeros(10)].astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[given]
    weighted = purify(features, labels, val, config=FIXED, sample_weight=weight)
    repeated = purify(features[twice], given[twice], val, config=FIXED)
    # Not to the last digit: of the two rows only one is left out of its own prediction.
    difference = np.abs(np.asarray(weighted.probs[:290]) - np.asarray(repeated.probs[:290]))
    assert difference.mean() < 0.02
    assert np.mean(np.asarray(weighted.labels[:290]) == np.asarray(repeated.labels[:290])) > 0.98


def test_one_hot_labels_are_indices_and_weights_of_one_are_none(blobs, fixed):
    features, given, val, _ = blobs
    weight = np.ones(300, np.float32)
    labels = np.eye(3, dtype=np.float32)[given]
    found = purify(features, labels, val, config=FIXED, sample_weight=weight)
    np.testing.assert_allclose(found.probs, fixed.probs, atol=1e-5)
