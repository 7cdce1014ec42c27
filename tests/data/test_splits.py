import numpy as np
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets, splits
from dmlp_jax.errors import UserError


@pytest.fixture
def config():
    return default_config()


def split_of(config):
    dataset = datasets.load(config.data, config.seed)
    return dataset, splits.make_split(dataset, config)


def test_clean_rows_are_stratified_and_apart_from_training_rows(config):
    dataset, split = split_of(config)
    np.testing.assert_array_equal(np.bincount(split["val_labels"]), np.full(10, 3))
    assert not np.intersect1d(split["train_index"], split["val_index"]).size
    assert len(split["train_index"]) + 30 == len(dataset.inputs)
    np.testing.assert_array_equal(split["val_labels"], dataset.labels[split["val_index"]])


def test_remainder_goes_to_different_classes(config):
    config.val.size = 34
    _, split = split_of(config)
    assert sorted(np.bincount(split["val_labels"])) == [3] * 6 + [4] * 4


def test_random_clean_set_where_asked_for(config):
    config.val.size, config.val.stratified = 100, False
    _, split = split_of(config)
    assert len(np.unique(np.bincount(split["val_labels"]))) > 1


def test_seed_decides_everything(config):
    first, second = split_of(config)[1], split_of(config)[1]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    config.seed = 1
    other = split_of(config)[1]
    assert np.any(first["val_index"] != other["val_index"])


def test_noise_rate_does_not_move_the_clean_set(config):
    first = split_of(config)[1]
    config.noise.rate = 0.2
    np.testing.assert_array_equal(first["val_index"], split_of(config)[1]["val_index"])


def test_given_labels_of_clean_rows_only_where_asked_for(config):
    assert "val_given_labels" not in split_of(config)[1]
    config.val.given_labels = True
    split = split_of(config)[1]
    assert 0.3 < np.mean(split["val_given_labels"] != split["val_labels"]) < 1


def test_split_survives_the_disk(config, tmp_path):
    _, split = split_of(config)
    splits.save_split(tmp_path / "split.npz", split)
    stored = splits.load_split(tmp_path / "split.npz")
    for name in split:
        np.testing.assert_array_equal(split[name], stored[name])


def test_problem_selects_the_rows(config):
    dataset, split = split_of(config)
    problem = splits.make_problem(dataset, split)
    np.testing.assert_array_equal(problem.train_inputs, dataset.inputs[split["train_index"]])
    np.testing.assert_array_equal(problem.true_labels, dataset.labels[split["train_index"]])
    assert abs(np.mean(problem.given_labels != problem.true_labels) - 0.72) < 0.05


@pytest.mark.parametrize(
    ("size", "stratified", "words"),
    [
        (5, True, "val.size is 5"),
        (1347, True, "val.size is 1347"),
        (1340, True, "class . has"),
        (12, False, "has no row of class"),
    ],
)
def test_impossible_clean_set_is_refused(config, size, stratified, words):
    config.val.size, config.val.stratified = size, stratified
    with pytest.raises(UserError, match=words):
        split_of(config)


def test_human_noise_needs_its_file(config):
    config.noise.name = "human"
    with pytest.raises(UserError, match=r"noise\.path"):
        split_of(config)
