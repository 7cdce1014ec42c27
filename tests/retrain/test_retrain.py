import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.retrain import method
from dmlp_jax.retrain.method import Task, TrainingSet
from dmlp_jax.retrain.run import retrain
from dmlp_jax.training.dispatch import Batch
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session
from tests.conftest import make_blobs


@pytest.fixture
def settings():
    config = apply_recipe(default_config()).retrain
    config.update(model="linear", augment="none", epochs=8, batch_size=50, lr=0.05, checkpoint_epochs=4)
    return config


@pytest.fixture(scope="module")
def problem():
    features, given, (val_features, val_labels), true = make_blobs(0, noise=0.5)
    return Problem(
        train_inputs=features[:200],
        given_labels=given[:200],
        true_labels=true[:200],
        val_inputs=val_features,
        val_labels=val_labels,
        val_given_labels=None,
        test_inputs=features[200:],
        test_labels=true[200:],
        class_names=("a", "b", "c"),
    )


def run(problem, labels, settings, folder, **changes):
    log = MetricsLog(folder / "metrics.jsonl")
    arguments = {
        "folder": folder / "retrain",
        "key": jax.random.key(0),
        "seed": 0,
        "encoder": None,
    }
    session = Session(jax.local_devices()[:1], log, 1e9)
    try:
        rates = dict.fromkeys(labels, 0.3)
        return retrain(problem, labels, rates, settings, session, **{**arguments, **changes})
    finally:
        log.close()


def few_rows(inputs):
    return TrainingSet(np.float32(inputs), np.eye(3, dtype=np.float32)[np.zeros(len(inputs), int)], 0.3)


def test_better_labels_give_a_better_network(problem, settings, tmp_path):
    rng = np.random.default_rng(100)
    labels = {"given": rng.integers(3, size=200), "true": problem.true_labels}
    settings.with_val = False
    found = run(problem, labels, settings, tmp_path)
    assert found["true"]["last"] > 0.9
    assert found["true"]["last"] > found["given"]["last"] + 0.2
    for result in found.values():
        accuracies = [epoch["test_accuracy"] for epoch in result["curve"]]
        assert result["best"] == max(accuracies)
        assert result["last"] == accuracies[-1]
        picked = [epoch["select_accuracy"] for epoch in result["curve"]]
        assert result["selected"] == accuracies[result["selected_epoch"] - 1]
        assert picked[result["selected_epoch"] - 1] == max(picked)
        assert max(picked[result["selected_epoch"] :], default=0) < max(picked)


def test_arms_with_equal_labels_are_equal(problem, settings, tmp_path):
    labels = {"given": problem.true_labels, "true": np.eye(3)[problem.true_labels]}
    found = run(problem, labels, settings, tmp_path)
    assert found["given"] == found["true"]


def test_finished_arm_is_read_from_its_folder(problem, settings, tmp_path):
    labels = {"true": problem.true_labels}
    first = run(problem, labels, settings, tmp_path)
    path = tmp_path / "retrain" / "naive-true" / "result.json"
    stored = json.loads(path.read_text())
    assert stored == first["true"]
    stored["best"] = 0.123
    path.write_text(json.dumps(stored))
    assert run(problem, labels, settings, tmp_path)["true"]["best"] == 0.123


def test_no_test_set_no_test_accuracy(problem, settings, tmp_path):
    bare = problem._replace(test_inputs=None, test_labels=None)
    found = run(bare, {"given": problem.given_labels}, settings, tmp_path)["given"]
    assert found["best"] is found["last"] is found["selected"] is None
    assert found["selected_epoch"] is not None


def test_step_is_the_textbooks(settings):
    """One step of cross-entropy under plain gradient descent, against NumPy in float64."""
    settings.update(optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, warmup_epochs=0.0)
    chosen = method.make("naive", settings, Task(3, 10, None))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5, 4))
    targets = rng.dirichlet(np.ones(3), size=5)
    state = chosen.init(jax.random.key(0), few_rows(inputs))
    head = jax.tree.map(np.float64, state.params["head"])
    logits = inputs @ head["kernel"] + head["bias"]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = {"inputs": jnp.asarray(inputs, jnp.float32), "targets": jnp.asarray(targets, jnp.float32)}
    keys = jax.random.split(jax.random.key(1), 6)
    batch = Batch(rows, keys[1:], keys[0], jnp.arange(5), jnp.float32(0), ())
    after, metrics = chosen.train_step(state, batch, axis_name=None)
    np.testing.assert_allclose(metrics["loss"], -(targets * np.log(probs)).sum(axis=1).mean(), rtol=1e-5)
    expected = head["kernel"] - 0.1 * inputs.T @ (probs - targets) / 5
    np.testing.assert_allclose(after.params["head"]["kernel"], expected, atol=1e-5)
    np.testing.assert_allclose(chosen.predict(state, rows["inputs"]), probs, atol=1e-5)


def test_pretrained_encoder_is_put_in(settings):
    settings.model = "mlp"
    example = np.ones((2, 4))
    fresh = method.make("naive", settings, Task(3, 10, None)).init(jax.random.key(0), few_rows(example))
    encoder = jax.tree.map(
        lambda leaf: leaf + 7,
        {"params": fresh.params["encoder"], "batch_stats": fresh.batch_stats["encoder"]},
    )
    state = method.make("naive", settings, Task(3, 10, encoder)).init(jax.random.key(0), few_rows(example))
    for ours, theirs in zip(
        jax.tree.leaves((state.params["encoder"], state.batch_stats["encoder"])),
        jax.tree.leaves((encoder["params"], encoder["batch_stats"])),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(state.params["head"]["kernel"], fresh.params["head"]["kernel"])


def test_another_networks_encoder_is_refused(settings):
    settings.model = "linear"
    encoder = {"params": {"Dense_0": {"kernel": jnp.ones((4, 4))}}, "batch_stats": {}}
    with pytest.raises(UserError, match="another network"):
        method.make("naive", settings, Task(3, 10, encoder)).init(
            jax.random.key(0), few_rows(np.ones((2, 4)))
        )


def test_unknown_method_is_refused(settings):
    with pytest.raises(UserError, match="did you mean 'naive'"):
        method.make("naiv", settings, Task(3, 10, None))
