import numpy as np
import pytest

from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import label_variants


@pytest.fixture
def problem():
    return Problem(
        train_inputs=np.arange(8, dtype=np.float32).reshape(4, 2),
        given_labels=np.array([0, 1, 1, 0]),
        true_labels=np.array([0, 0, 1, 1]),
        val_inputs=np.full((3, 2), 9, np.float32),
        val_labels=np.array([1, 0, 1]),
        val_given_labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=("a", "b"),
    )


def test_hard_labels_become_one_hot_and_clean_rows_follow(problem):
    data = label_variants.training_set(problem, problem.given_labels, np.array([0, 2]), 2, 0.3)
    np.testing.assert_array_equal(data.inputs, [[0, 1], [2, 3], [4, 5], [6, 7], [9, 9], [9, 9]])
    np.testing.assert_array_equal(data.targets[:, 1], [0, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(data.targets.sum(axis=1), 1)
    assert data.num_clean == 2
    assert data.noise_rate == pytest.approx(0.3 * 4 / 6)


def test_soft_labels_stay_soft(problem):
    probs = np.array([[0.7, 0.3]] * 4)
    data = label_variants.training_set(problem, probs, np.zeros(0, int), 2, None)
    np.testing.assert_allclose(data.targets, probs)
    assert data.noise_rate is None


def test_some_of_each_class_is_kept_out():
    labels = np.repeat([0, 1, 2], [10, 3, 1])
    train, select = label_variants.split_clean(labels, 0.2, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(labels[select], minlength=3), [2, 1, 0])
    np.testing.assert_array_equal(np.sort(np.r_[train, select]), np.arange(14))


def test_share_zero_keeps_nothing_out():
    train, select = label_variants.split_clean(np.array([0, 0, 1, 1]), 0.0, np.random.default_rng(0))
    assert len(train) == 4
    assert len(select) == 0


def test_sources_are_parsed():
    assert label_variants.parse("given, purified,given") == ["given", "purified"]


@pytest.mark.parametrize("labels", ["", "purifed", "given,,x"])
def test_unknown_sources_are_refused(labels):
    with pytest.raises(UserError, match="given, val_only_probe"):
        label_variants.parse(labels)


def test_impossible_share_is_refused():
    with pytest.raises(UserError, match="select_share"):
        label_variants.split_clean(np.array([0, 1]), 1.0, np.random.default_rng(0))


def test_unlabelled_rows_may_be_of_any_class():
    np.testing.assert_array_equal(label_variants.unlabelled(3, 4), np.full((3, 4), 0.25, np.float32))
