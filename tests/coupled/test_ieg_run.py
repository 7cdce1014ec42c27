"""Whole runs of IEG, which needs images: kills, classes, features, the recipe for CIFAR."""

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, cifar_config, default_config
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings
from dmlp_jax.retrain import method
from dmlp_jax.retrain.method import TrainingSet
from tests.coupled import helpers  # noqa: F401  (registers the method)
from tests.retrain import run_helpers
from tests.retrain.methods.dividemix_helpers import batch_of
from tests.retrain.methods.test_semi_supervised_run import assert_same_bits, problem_of, run, settings_of


def settings(**changes):
    return settings_of("ieg", select_share=0.0, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_any_number_of_classes_is_learned(classes, tmp_path):
    problem = problem_of(classes, rows=200 if classes == 2 else 1000)
    found, _ = run(problem, tmp_path, settings(epochs=8, batch_size=20, lr=0.05), labels=problem.true_labels)
    assert found["best"] > (0.9 if classes == 2 else 0.2)


@pytest.mark.slow
def test_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(tmp_path):
    problem = problem_of(3)
    arguments = {"settings": settings(), "labels": problem.given_labels}
    whole, state = run(problem, tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path / "cut", log=run_helpers.Killed(tmp_path / "cut.jsonl"), **arguments)
    again, resumed = run(problem, tmp_path / "cut", **arguments)
    assert again == whole
    assert_same_bits(state, resumed)


def test_features_and_missing_clean_rows_are_refused():
    config = default_config()
    config.retrain.method = "ieg"
    assert "retrain" in check_settings.check(config).stages
    config.retrain.with_val = False
    with pytest.raises(UserError, match=r"retrain\.with_val is False"):
        check_settings.check(config)
    config.retrain.with_val = True
    config.data.name, config.stages = "npz", "purify,retrain,report"
    with pytest.raises(UserError, match="random views of images, but the inputs are features"):
        check_settings.check(config)


@pytest.mark.slow
def test_recipe_for_cifar_can_be_run_as_it_stands():
    """Wide ResNet, AutoAugment and bfloat16 together: the step is traced, nothing is computed."""
    config = cifar_config("cifar10")
    config.retrain.method = "ieg"
    check_settings.check(config)
    chosen = apply_recipe(config).retrain
    size = chosen.batch_size
    inputs = np.random.default_rng(0).integers(256, size=(size + 9, 32, 32, 3)).astype(np.uint8)
    train = TrainingSet(inputs, np.eye(10, dtype=np.float32)[np.arange(len(inputs)) % 10], 0.0, 9)
    made = method.make("ieg", chosen, method.Task(10, 1, None))
    state = jax.eval_shape(lambda key: made.init(key, train), jax.random.key(0))
    rows = {"train": np.arange(size), "meta": size + np.arange(size) % 9}
    batch = batch_of(train, rows, jax.random.key(0), ())
    after, metrics = jax.eval_shape(lambda *a: made.train_step(*a, axis_name=None), state, batch)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert metrics["loss"].shape == ()
