"""Whole runs of the semi-supervised methods: given labels play no part, errors, kills, many classes."""

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, cifar_config, default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain.method import TrainingSet
from dmlp_jax.training import loop
from tests.retrain import run_helpers
from tests.retrain.methods import semi_helpers
from tests.retrain.methods.dividemix_helpers import batch_of
from tests.retrain.methods.semi_helpers import METHODS


def problem_of(classes, rows=160, per_class=2):
    """Images 8x8 of smooth patterns, one for each class, under noise; given labels drawn at random."""
    rng = np.random.default_rng(0)
    clean = per_class * classes
    true = np.arange(2 * rows + clean) % classes
    patterns = rng.normal(size=(classes, 4, 4)).repeat(2, axis=1).repeat(2, axis=2)
    noisy = 128 + 50 * (patterns[true] + 0.4 * rng.normal(size=(len(true), 8, 8)))
    inputs = np.clip(noisy, 0, 255).astype(np.uint8)[..., None]
    return Problem(
        inputs[:rows], rng.integers(classes, size=rows), true[:rows], inputs[2 * rows :], true[2 * rows :],
        None, inputs[rows : 2 * rows], true[rows : 2 * rows], tuple(map(str, range(classes))),
    )  # fmt: skip


def settings_of(name, **changes):
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(model="small_cnn", epochs=4, batch_size=8, checkpoint_epochs=2, ema=0.9, select_share=0.0)
    if name in ("fixmatch", "uda"):
        settings.unlabelled_ratio = 2
    settings.update(changes)
    return settings


def run(problem, folder, settings, log=None, labels=None):
    """The result and the final state."""
    states, fit = [], loop.fit
    labels = (
        label_variants.unlabelled(len(problem.train_inputs), len(problem.class_names))
        if labels is None
        else labels
    )

    def fitting(*arguments, **named):
        states.append(fit(*arguments, **named))
        return states[-1]

    loop.fit = fitting
    try:
        found = run_helpers.run(problem, {"clean": labels}, {"clean": 0.0}, settings, folder, log)
        return found["clean"], states[0].state
    finally:
        loop.fit = fit


def assert_same_bits(first, second):
    for ours, theirs in zip(*map(jax.tree.leaves, (first, second)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "name",
    ["fixmatch", *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS if name != "fixmatch")],
)
def test_given_labels_change_nothing_bit_for_bit(name, tmp_path, monkeypatch):
    semi_helpers.linear_on_images(monkeypatch)
    problem, settings = problem_of(3, rows=40), settings_of(name, epochs=2)
    without, state = run(problem, tmp_path / "without", settings)
    given, other = run(problem, tmp_path / "given", settings, labels=problem.given_labels)
    assert_same_bits(state, other)
    assert without == given


@pytest.mark.parametrize("name", METHODS)
def test_data_that_do_not_fit_are_refused_before_anything_runs(name, tmp_path):
    config = default_config()
    config.retrain.method = name
    assert "retrain" in check_settings.check(config).stages
    config.retrain.with_val = False
    with pytest.raises(UserError, match=r"clean rows alone, but retrain\.with_val is False; set it to True"):
        check_settings.check(config)
    with pytest.raises(UserError, match=r"retrain\.with_val"):
        run(problem_of(3), tmp_path, settings_of(name, with_val=False))
    config.retrain.with_val = True
    config.data.name, config.stages = "npz", "purify,retrain,report"
    with pytest.raises(UserError, match="random views of images, but the inputs are features"):
        check_settings.check(config)
    features = problem_of(3)._replace(train_inputs=np.ones((160, 5), np.float32))
    with pytest.raises(UserError, match="random views of images"):
        run(features, tmp_path, settings_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("classes", [2, 100])
def test_any_number_of_classes_is_learned(name, classes, tmp_path):
    problem = problem_of(classes, rows=200 if classes == 2 else 2000)
    found, _ = run(problem, tmp_path, settings_of(name, epochs=12))
    assert found["best"] > (0.9 if classes == 2 else 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(name, tmp_path):
    problem, settings = problem_of(3), settings_of(name)
    whole, state = run(problem, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path / "cut", settings, run_helpers.Killed(tmp_path / "cut.jsonl"))
    again, resumed = run(problem, tmp_path / "cut", settings)
    assert again == whole
    assert_same_bits(state, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_recipe_for_cifar_can_be_run_as_it_stands(name):
    """Wide ResNet, RandAugment and bfloat16 together: the step is traced, nothing is computed."""
    config = cifar_config("cifar10")
    config.retrain.method = name
    check_settings.check(config)
    settings = apply_recipe(config).retrain
    rng, size = np.random.default_rng(0), settings.batch_size
    inputs = rng.integers(256, size=(size * 8, 32, 32, 3)).astype(np.uint8)
    train = TrainingSet(inputs, label_variants.unlabelled(len(inputs), 10), 0.0, size)
    made = method.make(name, settings, method.Task(10, 1, None))
    state = jax.eval_shape(lambda key: made.init(key, train), jax.random.key(0))
    rows = {"labelled": np.arange(7 * size, 8 * size)}
    rows |= {f"unlabelled{part}": np.arange(size) for part in range(settings.unlabelled_ratio)}
    batch = batch_of(train, rows, jax.random.key(0), ())
    after, metrics = jax.eval_shape(lambda *a: made.train_step(*a, axis_name=None), state, batch)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert metrics["loss"].shape == ()
