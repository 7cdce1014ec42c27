"""Constants of the further methods that look ahead, as their authors published them."""

import pytest

from dmlp_jax.retrain import recipes
from tests.retrain.test_recipes import drops

TORCH = {"optimizer": "momentum", "momentum": 0.9, "schedule": "steps", "lr_drop": 0.1}


@pytest.mark.parametrize(("classes", "epochs", "start", "at"), [(10, 120, 44, [41, 81]), (100, 60, 21, None)])
def test_mslg_trains_as_published(classes, epochs, start, at):
    recipe = recipes.cifar(classes, False)["mslg"]
    expected = TORCH | {
        "epochs": epochs, "batch_size": 128, "lr": 0.01, "weight_decay": 1e-4, "lookahead_lr": 0.5,
        "label_lr": 4000, "label_scale": 10, "entropy_weight": 1,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert recipe["correct_start"] * epochs == pytest.approx(start)
    if at:
        assert drops(recipe) == at


def test_mslg_trains_on_clothing1m_as_published():
    recipe = recipes.clothing1m()["mslg"]
    expected = TORCH | {
        "model": "resnet50", "epochs": 10, "batch_size": 32, "lr": 1e-3, "weight_decay": 1e-4,
        "lookahead_lr": 0.5, "label_lr": 1500, "label_scale": 10, "entropy_weight": 1,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [5]
    assert recipe["correct_start"] * 10 == 1
