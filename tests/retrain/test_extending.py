"""The example of a method of one's own in docs/extending.md, run as it stands there."""

import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from dmlp_jax.config import apply_recipe
from dmlp_jax.data.types import Problem
from dmlp_jax.pipeline import check_settings
from dmlp_jax.retrain import method
from dmlp_jax.training.dispatch import Batch
from tests.conftest import make_blobs
from tests.retrain import run_helpers

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def example(tmp_path):
    """The module on the page; the method is forgotten afterwards."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "@register" in block]
    path = tmp_path / "label_smoothing.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("label_smoothing", path)
    module = importlib.util.module_from_spec(spec)
    before = dict(method._METHODS)
    spec.loader.exec_module(module)
    yield module
    method._METHODS.clear()
    method._METHODS.update(before)


def test_example_is_accepted_and_learns(example, tmp_path):
    config = example.get_config()
    assert "retrain" in check_settings.check(config).stages
    settings = apply_recipe(config).retrain
    assert settings.smoothing == 0.1
    settings.update(model="linear", augment="none", epochs=5, batch_size=50, lr=0.05)
    features, _, (val_features, val_labels), true = make_blobs(0)
    problem = Problem(
        features[:200],
        true[:200],
        true[:200],
        val_features,
        val_labels,
        None,
        features[200:],
        true[200:],
        ("a", "b", "c"),
    )
    found = run_helpers.run(problem, {"true": true[:200]}, {"true": 0.0}, settings, tmp_path)
    assert found["true"]["last"] > 0.9


def test_example_is_label_smoothing(example):
    """Its gradient at equal logits is p - q, with q the smoothed targets."""
    settings = apply_recipe(example.get_config()).retrain
    settings.update(
        model="linear",
        augment="none",
        optimizer="momentum",
        momentum=0.0,
        weight_decay=0.0,
        lr=1.0,
        warmup_epochs=0.0,
        schedule="steps",
        lr_drops=(),
    )
    chosen = method.make("label_smoothing", settings, method.Task(3, 1, None))
    inputs, targets = np.ones((2, 4), np.float32), np.eye(3, dtype=np.float32)[[0, 0]]
    state = chosen.init(jax.random.key(0), method.TrainingSet(inputs, targets, 0.0))
    state = state._replace(params=jax.tree.map(np.zeros_like, state.params))
    keys = jax.random.split(jax.random.key(1), 3)
    rows = {"inputs": inputs, "targets": targets}
    batch = Batch(rows, keys[1:], keys[0], np.arange(2), np.float32(0), ())
    after, _ = chosen.train_step(state, batch, axis_name=None)
    smoothed = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    np.testing.assert_allclose(after.params["head"]["bias"], smoothed - 1 / 3, atol=1e-6)
