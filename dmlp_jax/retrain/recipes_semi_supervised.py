"""Holds the constants of semi-supervised methods; `recipes` merges them."""

from typing import Any

Recipe = dict[str, Any]


def small() -> dict[str, Recipe]:
    """For the digits demo and for features."""
    # The average spans about fifty of five to eight hundred steps.
    views = {"augment": "affine_weak", "batch_size": 32, "ema": 0.98}
    strong = views | {"epochs": 60, "unlabelled_ratio": 5, "strong_augment": "affine_strong"}
    return {
        "mean_teacher": _mean_teacher() | views | {"epochs": 20},
        "mixmatch": _mixmatch(75.0) | views | {"epochs": 20},
        "fixmatch": _fixmatch() | strong,
        "uda": _uda() | strong,
    }


def cifar(many: bool) -> dict[str, Recipe]:
    """For 32x32 images; `many` says whether there are a hundred classes."""
    # The semi-supervised methods' authors count steps: 2^20, UDA's 500,000. An epoch is one pass over the
    # 49,000 rows without labels. The DMLP paper does not state the settings of its Table 9.
    wide = {
        "model": "wide_resnet28_8" if many else "wide_resnet28_2", "batch_size": 64, "optimizer": "sgd",
        "momentum": 0.9, "lr": 0.03, "weight_decay": 1e-3 if many else 5e-4, "schedule": "slow_cosine",
        "augment": "reflect_flip",
    }  # fmt: skip
    per_epoch = {ratio: 49_000 // (64 * ratio) for ratio in (1, 7)}
    mixmatch = wide | {
        "epochs": round(2**20 / per_epoch[1]), "optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.02,
        "schedule": "steps", "lr_drops": (),
    }  # fmt: skip
    uda = wide | {
        "epochs": round(500_000 / per_epoch[7]), "schedule": "cosine", "weight_decay": 5e-4,
        "warmup_epochs": 20_000 / per_epoch[7],
    }  # fmt: skip
    return {
        "mean_teacher": _mean_teacher() | wide | {"epochs": round(2**20 / per_epoch[1])},
        "mixmatch": _mixmatch(150.0 if many else 75.0) | mixmatch,
        "fixmatch": _fixmatch() | wide | {"epochs": round(2**20 / per_epoch[7])},
        "uda": _uda() | uda,
    }


def _mean_teacher() -> Recipe:
    return {
        "unlabelled_ratio": 1,  # rows without labels to one with, in a batch
        "unlabelled_weight": 50.0,  # lambda_u
        "unlabelled_ramp": 0.4,  # share of the epochs over which that rises from 0
        "ema": 0.999,  # decay of the weight average
    }


def _mixmatch(unlabelled_weight: float) -> Recipe:
    return {
        "unlabelled_ratio": 1,  # no other is possible
        "unlabelled_weight": unlabelled_weight,  # lambda_u
        "unlabelled_ramp": 1 / 64,  # share of the epochs over which that rises from 0: 2^20 images of 2^26
        "ema": 0.999,  # decay of the weight average
        "sharpen": 0.5,  # temperature T of the pseudo-label
        "mixup": 0.75,  # of Beta(a, a)
    }


def _fixmatch() -> Recipe:
    return {
        "unlabelled_ratio": 7,  # rows without labels to one with, in a batch
        "unlabelled_weight": 1.0,  # lambda_u
        "confidence": 0.95,  # probability from which on a pseudo-label counts
        "strong_augment": "randaugment",  # policy of the second views; retrain.augment is that of the first
        "ema": 0.999,  # decay of the weight average
    }


def _uda() -> Recipe:
    return _fixmatch() | {"confidence": 0.8, "sharpen": 0.4}  # temperature of the pseudo-label
