"""Constants of the further methods that look ahead, as their authors published them."""

import pytest
from ml_collections import ConfigDict

from dmlp_jax.retrain import recipes
from dmlp_jax.retrain.methods import incv_rounds
from tests.retrain.helpers import drops

TORCH = {"optimizer": "momentum", "momentum": 0.9, "schedule": "steps", "lr_drop": 0.1}


FAMUS = {
    "optimizer": "momentum", "momentum": 0.9, "schedule": "steps", "lr_drop": 0.1, "threshold": 0.5,
    "meta_lr": 1e-3, "meta_decay": 5e-4, "weight_width": 100, "gated_tensors": 13, "gates_lr": 0.1,
    "gates_open": 4, "gates_weight": 0.1, "mismatch_weight": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("classes", [10, 100])
def test_famus_trains_as_published(classes):
    recipe = recipes.cifar(classes, False)["famus"]
    expected = FAMUS | {
        "model": "preact_resnet18", "batch_size": 64, "lr": 0.02, "weight_decay": 5e-4, "mixup": 4,
        "lambda_u": 50, "lambda_u_ramp": 16,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    after = recipe["epochs"] - recipe["divide_warmup"]
    assert after == 300
    assert [at - recipe["divide_warmup"] for at in drops(recipe)] == [200, 250]


def test_famus_trains_on_clothing1m_as_published():
    recipe = recipes.clothing1m()["famus"]
    expected = FAMUS | {
        "model": "resnet50", "batch_size": 32, "lr": 2e-3, "weight_decay": 1e-3, "epoch_rows": 32 * 1000,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert recipe["epochs"] - recipe["divide_warmup"] == 150
    assert [at - recipe["divide_warmup"] for at in drops(recipe)] == [100]


@pytest.mark.parametrize("classes", [10, 100])
def test_ieg_trains_as_published(classes):
    recipe = recipes.cifar(classes, True)["ieg"]
    expected = {
        "model": "wide_resnet28_10", "batch_size": 100, "optimizer": "momentum", "momentum": 0.9, "lr": 0.1,
        "weight_decay": 5e-4, "schedule": "restarts", "lr_min": 0, "lr_restart_epochs": 1,
        "lr_restart_growth": 1.5, "lr_restart_peak": 0.9, "strong_augment": "autoaugment", "sharpen": 0.5,
        "mixup": 0.5, "given_share": 0.9, "lookahead_lr": 0.1, "unlabelled_weight": 5,
        "consistency_weight": 20, "ema": 0.999,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert recipe["epochs"] * 490 == pytest.approx(200_000, rel=1e-3)


@pytest.mark.parametrize(("asymmetric", "classes"), [(False, 10), (True, 10), (False, 100)])
def test_incv_trains_as_published(asymmetric, classes):
    recipe = recipes.cifar(classes, asymmetric)["incv"]
    expected = {
        "model": "preact_resnet18", "batch_size": 128, "optimizer": "adam", "lr": 1e-3, "weight_decay": 2e-4,
        "rounds": 4, "forget_epochs": 10, "symmetric": not asymmetric,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert incv_rounds.plan_phases(ConfigDict(recipe)) == (4, 50, 400)
    assert recipe["candidates_start"] * 200 == 40
    assert drops(recipe) == []


MLNT = {
    "label_sets": 10, "neighbours": 10, "perturbed_share": 0.5, "ema_first": 0.99, "ema": 0.999,
    "second_order": True,
}  # fmt: skip


@pytest.mark.parametrize("classes", [10, 100])
def test_mlnt_trains_as_published(classes):
    recipe = recipes.cifar(classes, False)["mlnt"]
    expected = MLNT | TORCH | {
        "model": "preact_resnet18", "batch_size": 128, "lr": 0.2, "weight_decay": 1e-4, "lookahead_lr": 0.2,
        "consistency_weight": 0.4 / classes,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    second = recipe["epochs"] * (1 - recipe["guide_share"])
    assert second == 120
    assert recipe["lookahead_start"] * second == pytest.approx(2)
    assert recipe["lookahead_ramp"] * second == pytest.approx(20)
    assert drops(recipe) == [80, 120 + 80]


def test_mlnt_trains_on_clothing1m_as_published():
    recipe = recipes.clothing1m()["mlnt"]
    expected = MLNT | TORCH | {
        "model": "resnet50", "epochs": 4, "guide_share": 3 / 4, "batch_size": 32, "lr": 8e-4,
        "weight_decay": 1e-3, "lookahead_lr": 0.02, "consistency_weight": 1 / 14, "augment": "none",
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [2]
    steps = 1_000_000 / 32
    assert recipe["lookahead_start"] * steps == 500
    assert recipe["lookahead_ramp"] * steps == 2000


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
