import numpy as np
import pytest

from dmlp_jax.data import noise
from dmlp_jax.data.sets.cifar import CIFAR100_CLASSES, cifar100_superclasses
from dmlp_jax.errors import UserError

N = 20_000
CASES = [
    ("none", 0.0, 10, {}),
    ("symmetric", 0.5, 10, {}),
    ("symmetric", 0.8, 10, {"exclude_true_class": True}),
    ("asymmetric", 0.4, 10, {}),
    ("pair", 0.3, 4, {}),
    ("superclass", 0.4, 100, {"superclasses": cifar100_superclasses()}),
]


def labels_of(classes):
    return np.random.default_rng(0).integers(classes, size=N).astype(np.int32)


@pytest.mark.parametrize(("name", "rate", "classes", "extra"), CASES)
def test_draws_follow_the_transition_matrix(name, rate, classes, extra):
    true = labels_of(classes)
    noisy = noise.corrupt(true, name, rate, classes, np.random.default_rng(1), **extra)
    expected = noise.transition_matrix(name, rate, classes, **extra)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (true, noisy), 1)
    rows = counts.sum(axis=1, keepdims=True)
    deviation = 5 * np.sqrt(expected * (1 - expected) / rows) + 1 / rows
    assert np.all(np.abs(counts / rows - expected) <= deviation)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    assert noisy.dtype == np.int32


@pytest.mark.parametrize(("name", "rate", "classes", "extra"), CASES)
def test_same_seed_same_labels(name, rate, classes, extra):
    true = labels_of(classes)
    draws = [
        noise.corrupt(true, name, rate, classes, np.random.default_rng(seed), **extra) for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert name == "none" or np.any(draws[0] != draws[2])


def test_excluding_the_true_class_flips_exactly_the_rate():
    true = labels_of(10)
    noisy = noise.corrupt(true, "symmetric", 0.8, 10, np.random.default_rng(0), exclude_true_class=True)
    assert np.sum(noisy != true) == round(0.8 * N)


def test_including_the_true_class_flips_a_tenth_less():
    true = labels_of(10)
    noisy = noise.corrupt(true, "symmetric", 0.8, 10, np.random.default_rng(0))
    assert abs(np.mean(noisy != true) - 0.72) < 0.01


def test_ninety_percent_without_the_true_class_says_nothing():
    matrix = noise.transition_matrix("symmetric", 0.9, 10, exclude_true_class=True)
    np.testing.assert_allclose(matrix, 0.1)


def test_asymmetric_noise_is_exact_in_every_class_and_follows_the_map():
    true = labels_of(10)
    noisy = noise.corrupt(true, "asymmetric", 0.4, 10, np.random.default_rng(0))
    for label in range(10):
        rows = true == label
        moved = noisy[rows][noisy[rows] != label]
        if label in noise.CIFAR10_MAP:
            assert len(moved) == round(0.4 * rows.sum())
            assert set(moved) == {noise.CIFAR10_MAP[label]}
        else:
            assert len(moved) == 0


def test_superclass_noise_stays_in_the_superclass():
    true, groups = labels_of(100), cifar100_superclasses()
    noisy = noise.corrupt(true, "superclass", 1.0, 100, np.random.default_rng(0), superclasses=groups)
    np.testing.assert_array_equal(groups[noisy], groups[true])
    assert np.all(noisy != true)


def test_cifar100_superclasses_are_the_official_ones():
    groups = cifar100_superclasses()
    np.testing.assert_array_equal(np.bincount(groups), np.full(20, 5))
    first = {name for name, group in zip(CIFAR100_CLASSES, groups, strict=True) if group == 0}
    assert first == {"beaver", "dolphin", "otter", "seal", "whale"}
    assert CIFAR100_CLASSES[0] == "apple"
    assert CIFAR100_CLASSES[-1] == "worm"


def test_instance_noise_depends_on_the_instance():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(2000, 8, 8, 1)).astype(np.uint8)
    images[1000:] = images[:1000]
    true = np.tile(rng.integers(5, size=1000), 2).astype(np.int32)
    noisy = noise.corrupt_by_instance(images, true, 0.4, 5, np.random.default_rng(1))
    wrong = noisy != true
    assert abs(wrong.mean() - 0.4) < 0.03
    both = wrong[:1000] & wrong[1000:]
    # Twins that both flip mostly flip to the same class, which chance would give a quarter of.
    assert np.mean(noisy[:1000][both] == noisy[1000:][both]) > 0.6
    again = noise.corrupt_by_instance(images, true, 0.4, 5, np.random.default_rng(1))
    np.testing.assert_array_equal(noisy, again)


def test_parts_of_instance_noise_have_one_source():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(1000, 8, 8, 1)).astype(np.uint8)
    true = rng.integers(5, size=1000).astype(np.int32)
    alone = noise.corrupt_by_instance(images, true, 0.4, 5, np.random.default_rng(1))
    # The same rows once more: twins that both flip mostly flip to the same class.
    parts = [noise.Rows(images, true, np.random.default_rng(seed)) for seed in (1, 2)]
    first, second = noise.corrupt_parts_by_instance(parts, 0.4, 5)
    np.testing.assert_array_equal(first, alone)
    assert np.any(second != first)
    both = (first != true) & (second != true)
    assert np.mean(first[both] == second[both]) > 0.6


@pytest.mark.parametrize(
    ("name", "rate", "classes", "words"),
    [
        ("symetric", 0.5, 10, "did you mean 'symmetric'"),
        ("symmetric", 1.5, 10, "noise.rate is 1.5"),
        ("asymmetric", 0.4, 100, "CIFAR-10 map"),
        ("superclass", 0.4, 10, "superclasses"),
    ],
)
def test_impossible_noise_is_refused(name, rate, classes, words):
    with pytest.raises(UserError, match=words):
        noise.corrupt(labels_of(classes), name, rate, classes, np.random.default_rng(0))
