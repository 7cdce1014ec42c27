"""The published constants of methods that compare rows by a contrastive loss."""

import pytest

from dmlp_jax.retrain import recipes
from tests.retrain.helpers import drops


@pytest.mark.parametrize("classes", [10, 100])
def test_moit_plus_trains_as_published(classes):
    recipe = recipes.cifar(classes, False)["moit_plus"]
    expected = {
        "model": "preact_resnet18", "epochs": 320, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.1, "weight_decay": 1e-4, "schedule": "steps", "lr_drop": 0.1,
        "augment": "crop_flip", "strong_augment": "simclr", "mixup": 1.0, "temperature": 0.1,
        "neighbours": 250, "projection_width": 128, "memory_per_class": 100, "bootstrap_share": 0.2,
        "class_quantile": 0.5,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [125, 200]
    names = ("memory_start", "correct_start", "tune_start", "bootstrap_start")
    assert [recipe[name] * 320 for name in names] == pytest.approx([3, 130, 250, 280])


@pytest.mark.parametrize(
    ("classes", "asymmetric", "alpha", "beta", "memory"),
    [(10, False, 0.5, 0.25, 1000), (10, True, 0.5, 0.25, 1000), (100, False, 0.75, 0.35, 100),
     (100, True, 0.25, 0.0, 100)],
)  # fmt: skip
def test_sel_cl_plus_trains_as_published(classes, asymmetric, alpha, beta, memory):
    recipe = recipes.cifar(classes, asymmetric)["sel_cl_plus"]
    expected = {
        "model": "preact_resnet18", "epochs": 320, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.1, "weight_decay": 1e-4, "schedule": "warm_steps", "warmup_epochs": 5.0,
        "lr_drop": 0.1, "augment": "crop_flip", "strong_augment": "simclr", "mixup": 1.0,
        "temperature": 0.1, "neighbours": 250, "projection_width": 128, "queue": 10_000, "ema": 0.999,
        "similarity_weight": 0.01, "similarity_clip": 0.25, "bootstrap_share": 0.2,
        "class_quantile": alpha, "pair_quantile": beta, "memory_per_class": memory,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [125, 200]
    names = ("supervise_start", "memory_start", "tune_start", "bootstrap_start")
    assert [recipe[name] * 320 for name in names] == pytest.approx([1, 3, 250, 280])


@pytest.mark.parametrize(
    ("classes", "asymmetric", "correct_at", "keep", "ramp"),
    [(10, False, 6, 0.1, 0), (10, True, 6, 0.4, 40), (100, False, 16, 0.02, 40)],
)
def test_rrl_trains_as_published(classes, asymmetric, correct_at, keep, ramp):
    recipe = recipes.cifar(classes, asymmetric)["rrl"]
    expected = {
        "model": "preact_resnet18", "epochs": 201, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.02, "weight_decay": 5e-4, "schedule": "restarts", "lr_min": 2e-4,
        "lr_restart_epochs": 201, "augment": "crop_flip", "second_augment": "augmix", "mixup": 8.0,
        "temperature": 0.3, "neighbours": 200, "embedding_width": 50, "start_steps": 101,
        "keep_above": keep, "use_above": 0.9, "prototype_weight": 5.0, "instance_weight": 1.0,
        "restore_weight": 1.0,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert recipe["correct_start"] * 201 == pytest.approx(correct_at)
    assert recipe["prototype_ramp"] * 201 == pytest.approx(ramp)
