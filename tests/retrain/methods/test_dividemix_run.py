"""Whole runs of DivideMix through `retrain`: what they learn, what they compile, what a kill costs."""

import numpy as np
import pytest

from dmlp_jax.retrain import method
from dmlp_jax.training import loop
from tests.retrain import run_helpers
from tests.retrain.methods.dividemix_helpers import dividemix_settings, equal_trees

CLASSES, TRAIN = 4, 320


@pytest.fixture(scope="module")
def problem():
    """Four clusters far apart; 60 % of the labels are drawn anew, 45 % are wrong."""
    made = run_helpers.clusters(TRAIN, rows=520, val_rows=20, classes=CLASSES)
    assert 0.4 < np.mean(made.given_labels != made.true_labels) < 0.5
    return made


@pytest.fixture
def spied(monkeypatch):
    """What is traced, which rows are labelled in each epoch, and the final states."""
    seen = {"traces": [], "labelled": [], "states": []}
    make, fit = method.make, loop.fit

    def making(name, settings, task):
        made = make(name, settings, task)

        def step(state, batch, *, axis_name):
            seen["traces"].append(tuple(sorted(batch.data)))
            return made.train_step(state, batch, axis_name=axis_name)

        def planner(train, devices):
            plan = made.make_planner(train, devices)

            def noted(state, epoch, key):
                state, planned = plan(state, epoch, key)
                rows = planned.indices.get("labelled", np.zeros(0, int))
                seen["labelled"].append(len(np.unique(rows)))
                return state, planned

            return noted

        return made._replace(train_step=step, make_planner=planner)

    def fitting(*arguments, **named):
        outcome = fit(*arguments, **named)
        seen["states"].append(outcome.state)
        return outcome

    monkeypatch.setattr(method, "make", making)
    monkeypatch.setattr(loop, "fit", fitting)
    return seen


def run(problem, folder, labels, rates, log=None, **changes):
    settings = dividemix_settings(
        batch_size=32, divide_warmup=2, lambda_u_ramp=4, checkpoint_epochs=3, lr=0.02, **changes
    )
    return run_helpers.run(problem, labels, rates, settings, folder, log)


def test_clusters_are_learned_under_heavy_noise_by_two_programs_in_all(problem, spied, tmp_path):
    labels = {"given": problem.given_labels, "purified": np.eye(CLASSES)[problem.true_labels]}
    found = run(problem, tmp_path, labels, {"given": 0.45, "purified": 0.0}, epochs=10)
    assert found["given"]["last"] > 0.95
    assert found["purified"]["last"] > 0.95
    assert len(found["given"]["curve"]) == 10
    assert spied["traces"] == [("all",), ("labelled", "unlabelled")]
    sizes = spied["labelled"][2:10]
    assert len(set(sizes)) > 1
    right = problem.given_labels == problem.true_labels
    for clean in spied["states"][0].clean[:, :TRAIN]:
        assert np.mean(right[clean > 0.5]) > 0.95
        assert np.mean(right[clean <= 0.5]) < 0.05


@pytest.mark.slow
def test_killed_and_resumed_is_the_uninterrupted_run_bit_for_bit(problem, spied, tmp_path):
    """Killed after the warm-up; with batch norm, and so much noise that losses are remembered."""
    labels, rates = {"given": problem.given_labels}, {"given": 0.85}
    whole = run(problem, tmp_path / "whole", labels, rates, epochs=6, model="mlp")
    assert spied["states"][0].losses.shape[1] == 5
    log = run_helpers.Killed(tmp_path / "cut.jsonl", 5)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path / "cut", labels, rates, log, epochs=6, model="mlp")
    planned = len(spied["labelled"])
    resumed = run(problem, tmp_path / "cut", labels, rates, epochs=6, model="mlp")
    assert len(spied["labelled"]) - planned == 3
    assert resumed == whole
    assert len(spied["states"]) == 2
    assert equal_trees(*spied["states"])
