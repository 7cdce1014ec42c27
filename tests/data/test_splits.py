import numpy as np
import pytest

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets, splits
from dmlp_jax.data.types import Dataset
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


def test_given_labels_of_clean_rows_unless_they_are_not_wanted(config):
    split = split_of(config)[1]
    assert 0.3 < np.mean(split["val_given_labels"] != split["val_labels"]) < 1
    config.val.given_labels = True
    np.testing.assert_array_equal(split_of(config)[1]["val_given_labels"], split["val_given_labels"])
    config.val.given_labels = False
    without = split_of(config)[1]
    assert "val_given_labels" not in without
    for name in without:
        np.testing.assert_array_equal(without[name], split[name])


def test_few_clean_rows_have_the_noise_rate_of_the_others(config):
    # Rounded among three rows of a class, the rate would be a third.
    config.noise.update(name="pair", rate=0.2)
    rates = []
    for seed in range(40):
        config.seed = seed
        split = split_of(config)[1]
        rates.append(np.mean(split["val_given_labels"] != split["val_labels"]))
    assert abs(np.mean(rates) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / (40 * 30))


def test_instance_noise_of_clean_rows_is_that_of_the_others(config):
    config.noise.update(name="instance", rate=0.9)
    config.val.size = 600
    _, split = split_of(config)
    dataset = datasets.load(config.data, config.seed)

    def shares(given, true):
        """How often each class is given where it is wrong, by true class."""
        wrong = given != true
        counts = np.zeros((10, 10))
        np.add.at(counts, (true[wrong], given[wrong]), 1)
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    train = shares(split["given_labels"], dataset.labels[split["train_index"]])
    val = shares(split["val_given_labels"], split["val_labels"])
    # The classes that one true class is called are those of one source.
    assert np.corrcoef(train.ravel(), val.ravel())[0, 1] > 0.8


def bring_labels(**known):
    """Data with labels of their own: twelve rows and six clean ones."""
    rng = np.random.default_rng(0)
    return Dataset(
        inputs=rng.normal(size=(12, 4)).astype(np.float32),
        labels=None,
        test_inputs=None,
        test_labels=None,
        class_names=("a", "b"),
        given_labels=np.arange(12) % 2,
        val_inputs=rng.normal(size=(6, 4)).astype(np.float32),
        val_labels=np.arange(6) % 2,
        **known,
    )


def test_what_data_say_of_their_clean_rows_is_used(config):
    given, drawn = np.array([0, -1, 1, 1, 0, -1], np.int32), np.array([True, False] * 3)
    dataset = bring_labels(val_given_labels=given, val_random=drawn)
    config.val.share = 0.67
    split = splits.make_split(dataset, config)
    rows = split["val_index"]
    assert len(rows) == 4
    np.testing.assert_array_equal(split["val_given_labels"], given[rows])
    np.testing.assert_array_equal(split["val_random"], drawn[rows])
    problem = splits.make_problem(dataset, split)
    np.testing.assert_array_equal(problem.val_given_labels, given[rows])
    np.testing.assert_array_equal(problem.val_random, drawn[rows])
    config.val.given_labels = False
    assert "val_given_labels" not in splits.make_split(dataset, config)


def test_given_labels_that_must_be_known(config):
    split = splits.make_split(bring_labels(), config)
    assert not {"val_given_labels", "val_random"} & set(split)
    config.val.given_labels = True
    with pytest.raises(UserError, match=r"val\.given_labels is True, but .* leave it out"):
        splits.make_split(bring_labels(), config)


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
