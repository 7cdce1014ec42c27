"""`suggest`: the rows to review next, or first."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.stats import binom

from dmlp_jax import InputError, purify, suggest
from tests.conftest import SHORT, make_blobs

FEATURES, GIVEN, VAL, TRUE = make_blobs(5)
UNEQUAL = np.repeat(np.arange(5), [600, 280, 100, 16, 4])
K = 24


@pytest.fixture(scope="module")
def result():
    known = make_blobs(5, rows=30)[1]
    return purify(FEATURES, GIVEN, VAL, config=SHORT, val_given_labels=known)


def assert_rows(found, count, rows):
    chosen = np.asarray(found.rows)
    assert chosen.dtype == np.int32
    assert found.random.dtype == bool
    assert chosen.shape == found.random.shape == found.reason.shape == (count,)
    assert len(np.unique(chosen)) == count
    assert chosen.min() >= 0
    assert chosen.max() < rows
    np.testing.assert_array_equal(found.random, [word == "random" for word in found.reasons])


@pytest.mark.parametrize(("share", "drawn"), [(0.25, 6), (0, 0), (1, 24), (0.01, 1)])
def test_a_share_is_drawn_at_random_and_comes_first(result, share, drawn):
    found = suggest(result, K, random_share=share)
    assert_rows(found, K, 300)
    np.testing.assert_array_equal(found.random, np.arange(K) < drawn)
    assert set(found.reasons[drawn:]) <= {"uncertain"}


def test_the_others_are_the_rows_of_the_least_certain_labels(result):
    found = suggest(result, K, random_share=0.25)
    drawn, others = np.asarray(found.rows)[:6], np.asarray(found.rows)[6:]
    confidence = np.array(result.confidence)
    confidence[drawn] = 2
    np.testing.assert_array_equal(others, np.argsort(confidence, kind="stable")[:18])
    # Wrong returned labels are among them more often than anywhere.
    wrong = np.asarray(result.labels) != TRUE
    assert wrong[others].mean() > 3 * wrong.mean()


def test_given_labels_of_full_confidence_are_ranked_by_their_quality(result):
    """As where purify returns the given labels and the clean rows' ones are unknown."""
    certain = result._replace(confidence=np.ones(300, np.float32))
    found = suggest(certain, K, random_share=0)
    lowest = np.argsort(np.asarray(result.label_quality), kind="stable")[:K]
    np.testing.assert_array_equal(np.sort(found.rows), np.sort(lowest))


def test_random_rows_are_drawn_from_all_rows(result):
    """The least certain rows are among them as often as others, or they would not show the noise rate."""
    draw = jax.jit(jax.vmap(lambda key: suggest(result, K, key=key, random_share=0.25).rows[:6]))
    times = np.bincount(np.asarray(draw(jax.random.split(jax.random.key(3), 2000))).ravel(), minlength=300)
    expected = 2000 * 6 / 300
    assert abs(times[np.argsort(result.confidence)[:30]].mean() - expected) < 4 * np.sqrt(expected / 30)
    assert np.all(np.abs(times - expected) < 6 * np.sqrt(expected))


def test_jit_and_vmap_give_the_same(result):
    plain = suggest(result, K, key=jax.random.key(7))
    again = jax.jit(partial(suggest, k=K))(result, key=jax.random.key(7))
    jax.tree.map(np.testing.assert_array_equal, again, plain)
    both = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), jax.tree.map(np.asarray, result))
    many = jax.vmap(lambda one: suggest(one, K, key=jax.random.key(7)))(both)
    np.testing.assert_array_equal(many.rows[1], plain.rows)
    first = jax.jit(partial(suggest, None, k=10, num_classes=5))(labels=UNEQUAL)
    np.testing.assert_array_equal(first.rows, suggest(None, 10, labels=UNEQUAL).rows)


def test_keys_change_the_draw_only(result):
    one, other = (suggest(result, K, key=jax.random.key(seed)) for seed in (1, 2))
    assert set(np.asarray(one.rows[:6]).tolist()) != set(np.asarray(other.rows[:6]).tolist())
    assert len(set(np.asarray(one.rows[6:]).tolist()) & set(np.asarray(other.rows[6:]).tolist())) > 14


@pytest.mark.parametrize("k", [5, 6, 40, 999, 1000])
def test_a_first_review_has_every_class(k):
    for seed in range(5):
        found = suggest(None, k, labels=UNEQUAL, key=jax.random.key(seed))
        assert_rows(found, k, 1000)
        counts = np.bincount(UNEQUAL[np.asarray(found.rows)], minlength=5)
        assert counts.min() >= 1
        # The large classes have their share of what is left beside one row of each.
        assert abs(counts[0] - 0.6 * k) < 4


def test_fewer_rows_than_classes():
    found = suggest(None, 3, labels=UNEQUAL)
    assert_rows(found, 3, 1000)
    assert len(np.unique(UNEQUAL[np.asarray(found.rows)])) == 3


def test_classes_without_a_row_take_none():
    found = suggest(None, 6, labels=UNEQUAL + 1, num_classes=8)
    assert_rows(found, 6, 1000)
    assert len(np.unique(UNEQUAL[np.asarray(found.rows)])) == 5


def test_rows_marked_as_random_have_one_probability():
    """Among them a class has its share of all rows, however rare it is; the others make up for what lacks."""
    draw = jax.jit(jax.vmap(lambda key: suggest(None, 40, labels=UNEQUAL, num_classes=5, key=key)))
    found = jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(0), 3000)))
    times = np.bincount(UNEQUAL[found.rows][found.random], minlength=5)
    total = times.sum()
    assert 36 * 3000 < total < 40 * 3000
    for label, share in enumerate(np.bincount(UNEQUAL) / 1000):
        low, high = binom.ppf([1e-5, 1 - 1e-5], total, share)
        assert low <= times[label] <= high, label
    assert set(UNEQUAL[found.rows][~found.random]) == {3, 4}


def test_without_labels_clusters_of_the_features_take_their_place():
    true = np.repeat(np.arange(4), [900, 40, 30, 30])
    spread = np.random.default_rng(0).normal(size=(1000, 8)) + 12 * np.eye(4, 8)[true] + 1000
    spread[:10] *= 1e6
    for seed in range(5):
        found = suggest(None, 40, features=spread, num_classes=4, key=jax.random.key(seed))
        assert_rows(found, 40, 1000)
        assert set(true[np.asarray(found.rows)]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"k": 301}, "k is 301, but there are 300 rows"),
        ({"k": 0}, "pass 1 to 300"),
        ({"k": 2.0}, "whole number"),
        ({"k": True}, "whole number"),
        ({"labels": GIVEN}, "without a result"),
        ({"result": None}, "labels=, the given labels"),
        ({"result": None, "labels": GIVEN, "features": FEATURES}, "not both"),
        ({"result": None, "labels": GIVEN - 1}, "outside the classes"),
        ({"result": None, "labels": 3}, "class indices"),
        ({"result": None, "labels": GIVEN, "k": 301}, "k is 301"),
        ({"result": None, "features": FEATURES[0]}, "features must be a matrix"),
        ({"random_share": 1.2}, "random_share is 1.2"),
        ({"random_share": "all"}, "random_share must be a number"),
        ({"key": 3}, "key must be"),
    ],
)
def test_mistakes_in_the_arguments_are_told(result, changed, words):
    with pytest.raises(InputError, match=words):
        suggest(**({"result": result, "k": 5} | changed))
