"""Whole runs of coupled methods through `retrain`: corrected labels, and what is refused."""

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.coupled import meta_set
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings
from dmlp_jax.retrain import method, recipes
from dmlp_jax.retrain.method import Task
from dmlp_jax.storage import files
from tests.coupled import helpers
from tests.retrain import helpers as retrain_helpers
from tests.retrain import run_helpers

TRAIN = 240
NAMES = ("mlc", "mslc", "meta_weight_net", "mslg", "l2r")


@pytest.fixture(scope="module")
def problem():
    """45 % of the labels are wrong."""
    return run_helpers.clusters(TRAIN, rows=440, val_rows=40)


def run(problem, folder, name, probe=None, **changes):
    """The result of one arm, and its corrected labels."""
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(model="linear", augment="none", epochs=6, batch_size=20, checkpoint_epochs=6, lr=0.02)
    if name in ("mslc", "mslg"):
        settings.update(correct_start=0.5)
    if name not in ("l2r", "mslg"):
        settings.update(meta_lr=0.01 if name == "mlc" else 0.1)
    settings.update(changes)
    labels, rates = {"given": problem.given_labels}, {"given": 0.45}
    found = run_helpers.run(problem, labels, rates, settings, folder, probe=probe)["given"]
    return found, files.load_npz(folder / "retrain" / f"{name}-given" / "corrected.npz")


@pytest.mark.parametrize("name", ["l2r", *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[:4])])
def test_labels_are_corrected_and_the_truth_is_for_reporting_only(name, problem, tmp_path):
    found, corrected = run(problem, tmp_path / "known", name)
    assert corrected["probs"].shape == (TRAIN, 4)
    np.testing.assert_allclose(corrected["probs"].sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(corrected["labels"], corrected["probs"].argmax(axis=1))
    accuracy = np.mean(corrected["labels"] == problem.true_labels)
    assert found["label_accuracy"] == found["curve"][-1]["label_accuracy"] == accuracy
    assert all("label_accuracy" in epoch for epoch in found["curve"])
    assert accuracy > np.mean(problem.given_labels == problem.true_labels) + 0.1
    assert found["last"] > 0.8

    unknown, same = run(problem._replace(true_labels=None), tmp_path / "unknown", name)
    assert unknown["label_accuracy"] is None
    assert [epoch["test_accuracy"] for epoch in unknown["curve"]] == [
        epoch["test_accuracy"] for epoch in found["curve"]
    ]
    np.testing.assert_array_equal(same["probs"], corrected["probs"])


def test_features_are_probed_after_each_epoch_and_stay_when_the_weights_are_fixed(problem, tmp_path):
    seen = []

    def probe(features, labels, test_features, test_labels):
        np.testing.assert_array_equal(labels, problem.true_labels)
        np.testing.assert_array_equal(test_labels, problem.test_labels)
        seen.append((features, test_features))
        return len(seen) / 10

    changes = {"model": "mlp", "epochs": 4, "frozen_from": 0.5}
    found, _ = run(problem, tmp_path, "mlc_decoupled", probe, **changes)
    assert [epoch["probe_accuracy"] for epoch in found["curve"]] == [0.1, 0.2, 0.3, 0.4]
    assert all(len(train) == TRAIN and len(test) == 200 for train, test in seen)
    first, second, third, fourth = (np.concatenate(parts) for parts in seen)
    assert np.any(first != second)
    np.testing.assert_array_equal(second, third)
    np.testing.assert_array_equal(third, fourth)
    labels = [epoch["label_accuracy"] for epoch in found["curve"]]
    given = np.mean(problem.given_labels == problem.true_labels)
    assert labels[:2] == [given, given]
    assert labels[2] != given


def test_methods_without_features_cannot_be_probed(problem, tmp_path):
    with pytest.raises(UserError, match=r"retrain\.linear_probe is True, but this retrain\.method shows"):
        run(problem, tmp_path, "l2r", lambda *_: 0.0)


def test_noisy_and_num_clean_are_planned_apart():
    train = helpers.training_set()
    config = retrain_helpers.settings("l2r", batch_size=5)
    plan = meta_set.make_planner(train, config)
    state, planned = plan("state", 3, jax.random.key(0))
    assert state == "state"
    assert planned.indices["train"].shape == planned.indices["meta"].shape == (2, 5)
    noisy = planned.indices["train"].ravel()
    assert len(set(noisy)) == 10
    assert noisy.max() < helpers.NOISY
    assert set(planned.indices["meta"].ravel()) == set(range(12, 18))
    again = plan("state", 3, jax.random.key(0))[1]
    np.testing.assert_array_equal(again.indices["train"], planned.indices["train"])
    np.testing.assert_array_equal(again.indices["meta"], planned.indices["meta"])
    other = plan("state", 3, jax.random.key(1))[1]
    assert (other.indices["train"] != planned.indices["train"]).any()


@pytest.mark.parametrize("name", NAMES)
def test_no_num_clean_are_refused(name):
    train = helpers.training_set()._replace(num_clean=0)
    with pytest.raises(UserError, match=r"none are left .* val\.size"):
        retrain_helpers.make(retrain_helpers.settings(name, batch_size=5), train)
    config = default_config()
    config.retrain.update(method=name, with_val=False)
    with pytest.raises(UserError, match=r"retrain\.with_val is False"):
        check_settings.check(config)


@pytest.mark.parametrize("name", NAMES)
def test_batch_of_more_than_the_noisy_rows_is_refused(name):
    with pytest.raises(UserError, match=r"retrain\.batch_size is 13 with 12 noisy rows"):
        retrain_helpers.make(retrain_helpers.settings(name, batch_size=13), helpers.training_set())


def test_batch_that_mlc_cannot_halve_is_refused():
    config = retrain_helpers.settings("mlc", batch_size=6)
    made = method.make("mlc", config, Task(3, 2, None))
    made.make_planner(helpers.training_set(), [None])
    with pytest.raises(UserError, match=r"batch_size is 6 on 2 devices; .* multiple of 4"):
        made.make_planner(helpers.training_set(), [None, None])


def test_small_recipes_of_coupled_methods_pass_the_check():
    for name in NAMES:
        config = default_config()
        config.retrain.method = name
        assert "retrain" in check_settings.check(config).stages
        assert set(recipes.small()[name]) == set(recipes.cifar(10, False)[name])
