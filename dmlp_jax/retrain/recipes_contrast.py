"""Holds the constants of methods that compare rows by a contrastive loss; `recipes` merges them."""

from typing import Any

Recipe = dict[str, Any]

# The new classifier needs half of a short run, in which the learning rate is still large enough.
_TUNED_SMALL: Recipe = {
    "neighbours": 20, "batch_size": 64, "tune_start": 0.5, "bootstrap_start": 0.75,
}  # fmt: skip


def small() -> dict[str, Recipe]:
    """For the digits demo and for features."""
    return {
        "moit_plus": _moit_plus() | _TUNED_SMALL | {"correct_start": 0.25},
        "rrl": _rrl() | {"neighbours": 20, "batch_size": 64},
        "sel_cl_plus": _sel_cl_plus() | _TUNED_SMALL | {"memory_per_class": 100, "queue": 256, "ema": 0.95},
    }


def cifar(many: bool, asymmetric: bool, common: Recipe) -> dict[str, Recipe]:
    """For 32x32 images.

    Args:
        many: whether there are a hundred classes.
        asymmetric: whether the noise depends on the class.
        common: momentum SGD with drops of the learning rate, which the methods share.
    """
    # 250 epochs, then 70 of fine-tuning; for 80 % symmetric noise the authors fine-tune for 140.
    moit_plus = common | {
        "model": "preact_resnet18", "epochs": 320, "lr": 0.1, "weight_decay": 1e-4,
        "lr_drops": (125 / 320, 200 / 320), "strong_augment": "simclr",
    }  # fmt: skip
    sel_cl_plus = moit_plus | {"schedule": "warm_steps", "warmup_epochs": 5.0}
    if many:
        sel_cl_plus |= {
            "class_quantile": 0.25 if asymmetric else 0.75, "memory_per_class": 100,
            "pair_quantile": 0.0 if asymmetric else 0.35,
        }  # fmt: skip
    # The first epoch stands for the authors' hundred first steps, before their 200 epochs.
    rrl = common | {
        "model": "preact_resnet18", "epochs": 201, "lr": 0.02, "weight_decay": 5e-4,
        "schedule": "restarts", "lr_min": 2e-4, "lr_restart_epochs": 201,
    }  # fmt: skip
    rrl |= _rrl() | {
        "second_augment": "augmix", "correct_start": (16 if many else 6) / 201,
        "keep_above": 0.02 if many else 0.4 if asymmetric else 0.1,
        "prototype_ramp": 40 / 201 if many or asymmetric else 0.0,
    }  # fmt: skip
    return {
        "moit_plus": _moit_plus() | moit_plus,
        "rrl": rrl,
        "sel_cl_plus": _sel_cl_plus() | sel_cl_plus,
    }


def clothing1m() -> dict[str, Recipe]:
    """What differs for Clothing1M from CIFAR with the settings that all methods share there."""
    # The authors' second view is also of a smaller crop.
    rrl = {
        "epochs": 51, "optimizer": "momentum", "lr": 0.01, "weight_decay": 1e-4, "schedule": "restarts",
        "lr_restart_epochs": 51, "mixup": 0.5, "embedding_width": 32, "start_steps": 51,
        "correct_start": 2 / 51, "prototype_weight": 1.0, "prototype_ramp": 0.0, "mix_second": False,
        "epoch_rows": 64_000,
    }  # fmt: skip
    return {"rrl": rrl}


def _moit_plus() -> Recipe:
    return {
        "memory_start": 3 / 320,  # share of the epochs before rows are compared with the memory too
        "correct_start": 130 / 320,  # share of the epochs in which all rows learn their labels
        "tune_start": 250 / 320,  # share of the epochs before the fine-tuning
        "bootstrap_start": 280 / 320,  # share of the epochs before its bootstrapping
        "bootstrap_share": 0.2,  # weight of the network's own prediction in that
        "class_quantile": 0.5,  # over classes, of the numbers of agreeing rows: rows selected in every class
        "neighbours": 250,  # that vote on a label
        "temperature": 0.1,  # T of the contrast
        "projection_width": 128,
        "memory_per_class": 100,  # two projections of each
        "mixup": 1.0,  # of Beta(a, a)
        "strong_augment": "",  # policy of the views before the fine-tuning; '' takes retrain.augment
    }


def _sel_cl_plus() -> Recipe:
    recipe = _moit_plus() | {
        "supervise_start": 1 / 320,  # share of the epochs with MoCo's loss only
        "pair_quantile": 0.25,  # of the similarities of selected rows: pairs above it are selected too
        "similarity_weight": 0.01,  # of the similarity of predictions
        "similarity_clip": 0.25,  # largest norm of the gradient of that
        "memory_per_class": 1000,  # two projections of each
        "queue": 10_000,  # keys of the queue
        "ema": 0.999,  # decay of the weight average that makes keys
    }
    del recipe["correct_start"]
    return recipe


def _rrl() -> Recipe:
    return {
        "start_steps": 101,  # of cross-entropy and restoring; the first epoch, at most one pass
        "correct_start": 0.2,  # share of the epochs on the given labels
        "neighbours": 200,  # that vote on a label
        "keep_above": 0.1,  # probability above which the soft label gives way to the given label
        "use_above": 0.9,  # largest probability of a soft label above which its row learns it
        "temperature": 0.3,  # T of both contrasts and of the vote
        "embedding_width": 50,
        "second_augment": "",  # policy of the second views; '' takes retrain.augment
        "mix_second": True,  # mix the second views too; the authors do not on Clothing1M
        "mixup": 8.0,  # of Beta(a, a)
        "prototype_weight": 5.0,  # of the prototype contrast
        "prototype_ramp": 0.0,  # share of the epochs over which that rises from 1; 0 for no rise
        "instance_weight": 1.0,  # of the instance contrast
        "restore_weight": 1.0,  # of the errors of restored features
        "epoch_rows": 0,  # rows drawn for each epoch, as many of every given class; 0 for all rows
    }
