"""What the benchmarks decide by: clean sets, and where a path of settings is left."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from dmlp_jax.config import cifar_config

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_a_random_clean_set_has_two_of_each_class_and_the_rest_as_they_come(module):
    unstratified = module("tasks").unstratified
    labels = np.repeat([0, 1, 2], [900, 96, 4])
    train, clean = unstratified(labels, 200, np.random.default_rng(0))
    assert sorted([*train, *clean]) == list(range(1000))
    sizes = np.bincount(labels[clean])
    assert sizes.sum() == 200
    assert 2 <= sizes[2] <= 4
    # 196 rows of which nine in ten are of the first class: 176.4 +- 4.
    assert 160 < sizes[0] < 192
    with pytest.raises(ValueError, match="two rows of each class, 6; 5 were asked for"):
        unstratified(labels, 5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("losses", "chosen", "asked"),
    [
        ([5, 4, 3, 2], 3, 4),
        # One that is worse is passed over, two are not.
        ([5, 3, 4, 2, 6, 7, 1], 3, 6),
        ([1, 2, 3, 0], 0, 3),
        ([3, 5, 4, 1], 0, 3),
    ],
)
def test_a_path_of_settings_is_left_after_two_that_are_worse(module, losses, chosen, asked):
    found = []
    best = module("accuracy_peers").best([range(len(losses))], lambda i: found.append(i) or losses[i])
    assert best == chosen
    assert found == list(range(asked))


def test_operations_are_those_of_the_image_that_the_network_sees(module):
    config = cifar_config("folder").pretrain
    counted = module("pretrain_parts").model_flops
    whole = counted(config, (32, 32, 3))
    config.crop_size = 32
    assert counted(config, (48, 40, 3)) == whole


def test_the_best_of_several_paths(module):
    losses = {("a", 0): 2.0, ("a", 1): 3.0, ("b", 0): 4.0, ("b", 1): 1.0}
    paths = [[("a", 0), ("a", 1)], [("b", 0), ("b", 1)]]
    assert module("accuracy_peers").best(paths, losses.__getitem__) == ("b", 1)
