"""The published constants of methods whose network corrects or selects labels."""

import pytest

from dmlp_jax.retrain import recipes
from dmlp_jax.retrain.method import by_noise
from tests.retrain.helpers import drops


@pytest.mark.parametrize(
    ("classes", "dynamic_at"), [(10, {0.9}), (100, {0.2, 0.5, 0.9})], ids=["cifar10", "cifar100"]
)
def test_m_correction_trains_as_published(classes, dynamic_at):
    recipe = recipes.cifar(classes, False)["m_correction"]
    expected = {
        "model": "preact_resnet18", "epochs": 300, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.1, "weight_decay": 1e-4, "schedule": "steps", "lr_drop": 0.1,
        "augment": "crop_flip", "bootstrap": "hard", "mixup": 32.0, "prior_weight": 1.0,
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    assert drops(recipe) == [100, 250]
    shares = [recipe[name] * 300 for name in ("correct_start", "guided_share", "cooling_share")]
    assert shares == pytest.approx([105, 5, 88])
    for percent in (0.2, 0.5, 0.8, 0.9):
        rate = percent * (1 - 1 / classes)
        assert by_noise("dynamic", recipe["dynamic"], rate) == (percent in dynamic_at)
    assert recipes.cifar(10, True)["m_correction"]["dynamic"] == 0


@pytest.mark.parametrize(("classes", "from_half"), [(10, 0.8), (100, 0.8)])
def test_ssr_trains_as_published(classes, from_half):
    found, asymmetric = recipes.cifar(classes, False), recipes.cifar(classes, True)
    expected = {
        "model": "preact_resnet18", "epochs": 300, "batch_size": 128, "optimizer": "momentum",
        "momentum": 0.9, "lr": 0.02, "lr_min": 0.0004, "schedule": "cosine", "warmup_epochs": 0.0,
        "weight_decay": 5e-4,
        "neighbours": 200, "select_above": 1.0, "mixup": 4.0, "consistency": 1.0, "head_width": 256,
        "head_dim": 128, "strong_augment": "autoaugment", "augment": "crop_flip", "balance_vote": True,
    }  # fmt: skip
    for name in ("ssr", "ssr_plus"):
        assert {key: found[name][key] for key in expected} == expected
        for percent, value in ((20, 0.9), (50, from_half), (80, from_half), (90, from_half)):
            rate = percent / 100 * (1 - 1 / classes)
            assert by_noise("relabel_above", found[name]["relabel_above"], rate) == value
        assert asymmetric[name]["relabel_above"] == 0.9
        clothing = recipes.clothing1m()[name]
        own = {
            "model": "resnet50", "epochs": 150, "batch_size": 32, "lr": 2e-3, "weight_decay": 1e-3,
            "relabel_above": 0.99, "mixup": 0.5, "balance_vote": False, "head_width": 512, "head_dim": 512,
            "epoch_rows": 32_000, "crop_size": 224, "strong_augment": "autoaugment_imagenet",
        }  # fmt: skip
        assert {key: clothing[key] for key in own} == own
        assert drops(clothing) == [50, 100]


@pytest.mark.parametrize("name", ["ssr", "ssr_plus"])
def test_ssr_learns_purified_distributions_of_small_data(name):
    assert recipes.small()[name]["soft_labels"]
    # On images like CIFAR's the authors' form stays, since the other was not measured there.
    assert not recipes.cifar(10, False)[name]["soft_labels"]


@pytest.mark.parametrize(("classes", "warm_up", "tau", "bias"), [(10, 10, 0.99, 0.8), (100, 30, 0.95, 0.5)])
def test_promix_trains_as_published(classes, warm_up, tau, bias):
    recipe, asymmetric = (recipes.cifar(classes, kind)["promix"] for kind in (False, True))
    expected = {
        "model": "resnet18", "epochs": 600, "batch_size": 256, "optimizer": "momentum", "momentum": 0.9,
        "lr": 0.05, "lr_min": 0.05 / 1000, "schedule": "cosine", "warmup_epochs": 0.0, "weight_decay": 5e-4,
        "divide_warmup": warm_up, "confidence": tau, "adjust": bias, "debias": bias, "fill": 0.9,
        "prior_decay": 0.9999, "pseudo_weight": 0.1, "sharpen": 0.5, "mixup": 4.0, "pseudo_stops": True,
        "strong_augment": "randaugment3", "augment": "crop_flip",
    }  # fmt: skip
    assert {key: recipe[key] for key in expected} == expected
    epochs = [round(600 * recipe[key], 6) for key in ("guess_start", "ramp", "pseudo_ramp")]
    assert epochs == [350, 50, 100]
    for percent, share in ((20, 0.7), (50, 0.5), (80, 0.5)):
        assert by_noise("keep", recipe["keep"], percent / 100 * (1 - 1 / classes)) == share
    assert (asymmetric["keep"], asymmetric["confidence_penalty"]) == (0.5, True)


def test_joint_optim_trains_as_published():
    common = {
        "epochs": 200, "batch_size": 128, "optimizer": "momentum", "momentum": 0.9, "weight_decay": 1e-4,
        "lr_drops": (), "label_memory": 10, "correct_start": 0.35,
    }  # fmt: skip
    symmetric = {"lr": 0.08, "class_prior": 1.2, "entropy": 0.8}
    for asymmetric, own in ((False, symmetric), (True, {"lr": 0.03, "class_prior": 0.8, "entropy": 0.4})):
        recipe = recipes.cifar(10, asymmetric)["joint_optim"]
        assert {key: recipe[key] for key in common | own} == common | own


def test_pencil_trains_as_published():
    common = {
        "epochs": 320, "batch_size": 128, "optimizer": "momentum", "momentum": 0.9, "weight_decay": 1e-4,
        "lr": 0.06, "label_scale": 10.0, "schedule": "table", "double_softmax": True,
    }  # fmt: skip
    own = {
        False: {"label_lr": 400 / 128, "compatibility": 0.1, "entropy": 0.8},
        True: {"label_lr": 600 / 128, "compatibility": 0.4, "entropy": 0.1},
    }
    for asymmetric, values in own.items():
        recipe = recipes.cifar(10, asymmetric)["pencil"]
        assert {key: recipe[key] for key in common | values} == common | values
        assert [320 * recipe[key] for key in ("correct_start", "correct_stop")] == [70, 200]
        table = [(320 * share, round(0.06 * factor, 9)) for share, factor in recipe["lr_table"]]
        assert table == [(0, 0.06), (200, 0.2), (240, 0.02), (280, 0.002)]
    clothing = recipes.clothing1m()["pencil"]
    assert [20 * clothing[key] for key in ("correct_start", "correct_stop")] == [5, 10]
    assert 32 * clothing["label_lr"] == 3000
    assert 32 * clothing["label_lr"] * clothing["label_lr_drop"] == pytest.approx(500)
