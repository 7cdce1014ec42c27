"""The published constants of semi-supervised methods."""

import pytest

from dmlp_jax.retrain import recipes


@pytest.mark.parametrize(("classes", "model", "decay"), [(10, "28_2", 5e-4), (100, "28_8", 1e-3)])
def test_semi_supervised_methods_train_as_published(classes, model, decay):
    found = recipes.cifar(classes, False)
    common = {"model": f"wide_resnet{model}", "batch_size": 64, "ema": 0.999, "augment": "reflect_flip"}
    sgd = common | {"optimizer": "sgd", "momentum": 0.9, "lr": 0.03}
    slow = sgd | {"schedule": "slow_cosine", "weight_decay": decay}
    expected = {
        "fixmatch": slow | {
            "unlabelled_ratio": 7, "unlabelled_weight": 1.0, "confidence": 0.95,
            "strong_augment": "randaugment",
        },
        "uda": sgd | {
            "schedule": "cosine", "weight_decay": 5e-4, "unlabelled_ratio": 7, "unlabelled_weight": 1.0,
            "confidence": 0.8, "sharpen": 0.4, "strong_augment": "randaugment",
        },
        "mean_teacher": slow | {"unlabelled_ratio": 1, "unlabelled_weight": 50.0, "unlabelled_ramp": 0.4},
        "mixmatch": common | {
            "optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.02, "schedule": "steps", "lr_drops": (),
            "unlabelled_ratio": 1, "unlabelled_weight": 75.0 if classes == 10 else 150.0, "sharpen": 0.5,
            "mixup": 0.75,
        },
    }  # fmt: skip
    for name, values in expected.items():
        assert {key: found[name][key] for key in values} == values, name
    # The authors count steps; here an epoch is one pass over 49,000 rows without labels.
    for name, steps in {"fixmatch": 2**20, "uda": 500_000, "mean_teacher": 2**20, "mixmatch": 2**20}.items():
        per_epoch = 49_000 // (64 * found[name]["unlabelled_ratio"])
        assert found[name]["epochs"] * per_epoch == pytest.approx(steps, rel=1e-3)
    assert found["uda"]["warmup_epochs"] * (49_000 // 448) == pytest.approx(20_000)
    assert found["mixmatch"]["unlabelled_ramp"] * 2**26 == 1024 * 1024
