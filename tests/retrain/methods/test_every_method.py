"""What must hold for every method: any number of classes, tiny batches, and a killed run that goes on."""

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.coupled import registry  # noqa: F401  (registers them)
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import method
from dmlp_jax.training import loop
from tests.retrain import run_helpers

# Those that need images have tests of their own, in test_semi_supervised_run.py.
METHODS = [name for name in sorted(default_config().recipes) if not method.needs(name).images]
pytestmark = pytest.mark.slow


def problem_of(classes, rows=240, width=12):
    """Clusters with a third of the labels drawn anew; one clean row of every class."""
    rng = np.random.default_rng(0)
    true = np.arange(2 * rows + classes) % classes
    centres = 4 * rng.normal(size=(classes, width))
    inputs = (centres[true] + rng.normal(size=(len(true), width))).astype(np.float32)
    given = np.where(rng.random(rows) < 1 / 3, rng.integers(classes, size=rows), true[:rows])
    return Problem(
        inputs[:rows],
        given,
        true[:rows],
        inputs[2 * rows :],
        true[2 * rows :],
        None,
        inputs[rows : 2 * rows],
        true[rows : 2 * rows],
        tuple(map(str, range(classes))),
    )


def run(problem, folder, name, log=None, **changes):
    config = default_config()
    config.retrain.method = name
    settings = apply_recipe(config).retrain
    settings.update(model="mlp", augment="none", epochs=4, batch_size=40, checkpoint_epochs=2, lr=0.01)
    if name in ("dividemix", "famus", "promix"):
        settings.divide_warmup = 1
    if name in ("joint_optim", "mslc", "mslg"):
        settings.correct_start = 0.5
    if name == "famus":
        settings.gated_tensors = 2
    if name == "mlnt":
        settings.update(guide_share=0.5, lookahead_start=0.0, label_sets=2)
    if name == "mlc":
        settings.gradient_steps = 3
    if name == "mlc_decoupled":
        settings.frozen_from = 0.75
    settings.update(changes)
    labels, rates = {"given": problem.given_labels}, {"given": 0.3}
    return run_helpers.run(problem, labels, rates, settings, folder, log)["given"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("classes", [2, 100])
def test_any_number_of_classes_is_learned(name, classes, tmp_path):
    found = run(problem_of(classes, rows=240 if classes == 2 else 2000), tmp_path, name)
    assert found["best"] > (0.9 if classes == 2 else 0.2)


@pytest.mark.parametrize("name", METHODS)
def test_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(name, tmp_path, monkeypatch):
    states, fit = [], loop.fit

    def fitting(*arguments, **named):
        outcome = fit(*arguments, **named)
        states.append(outcome.state)
        return outcome

    monkeypatch.setattr(loop, "fit", fitting)
    problem = problem_of(3)
    whole = run(problem, tmp_path / "whole", name)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path / "cut", name, run_helpers.Killed(tmp_path / "cut.jsonl"))
    assert run(problem, tmp_path / "cut", name) == whole
    for ours, theirs in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", METHODS)
def test_more_rows_in_a_batch_than_there_are_is_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"retrain\.batch_size is 1000"):
        run(problem_of(3), tmp_path, name, batch_size=1000)
