"""Holds the constants of the methods that look ahead beyond the paper's own; `recipes` merges them."""

from typing import Any

Recipe = dict[str, Any]


def small() -> dict[str, Recipe]:
    """For the digits demo and for features; chosen on a seed that no benchmark uses."""
    step = {"batch_size": 64, "optimizer": "momentum", "lr": 0.02}
    return {"mslg": _mslg() | step | {"correct_start": 1 / 3}}


def cifar(many: bool, common: Recipe) -> dict[str, Recipe]:
    """For 32x32 images.

    Args:
        many: whether there are a hundred classes.
        common: momentum SGD with drops of the learning rate, which the methods share.
    """
    mslg = _mslg() | common | {
        # The authors' network has six convolutions and one dense layer. They flip images both ways.
        "model": "cnn9", "epochs": 120, "batch_size": 128, "lr": 0.01, "weight_decay": 1e-4,
        "lr_drops": (41 / 120, 81 / 120),
    }  # fmt: skip
    if many:
        # The authors give no learning rates here; these are those of CIFAR-10 in half the epochs.
        mslg |= {"epochs": 60, "correct_start": 21 / 60}
    return {"mslg": mslg}


def clothing1m() -> dict[str, Recipe]:
    """What differs for Clothing1M from CIFAR with the settings that all methods share there."""
    return {
        "mslg": {
            "epochs": 10, "batch_size": 32, "optimizer": "momentum", "lr": 1e-3, "weight_decay": 1e-4,
            "lr_drops": (0.5,), "correct_start": 1 / 10, "label_lr": 1500.0,
        },
    }  # fmt: skip


def _mslg() -> Recipe:
    return {
        "correct_start": 44 / 120,  # share of the epochs with cross-entropy on the given labels
        "lookahead_lr": 0.5,  # alpha, length of the look-ahead step
        "label_lr": 4000.0,  # beta, of the labels' logits; the gradient is that of a mean over rows
        "label_scale": 10.0,  # K, the given class's logit at first
        "entropy_weight": 1.0,  # gamma
    }
