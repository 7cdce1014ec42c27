"""Holds the constants of INCV and of further methods that look ahead; `recipes` merges them."""

from typing import Any

Recipe = dict[str, Any]


def small() -> dict[str, Recipe]:
    """For the digits demo and for features; chosen on a seed that no benchmark uses."""
    views = {"augment": "affine_weak", "strong_augment": "affine_strong"}
    step = {"batch_size": 64, "optimizer": "momentum", "lr": 0.02}
    return {
        "famus": _famus(10.0)
        | {"batch_size": 32, "epochs": 40, "optimizer": "sgd", "lr": 0.02, "meta_lr": 1e-2},
        # The average spans about fifty of six hundred steps, and the look-ahead is as long as the step. With
        # the authors' weights of the losses this network diverges.
        "ieg": _ieg()
        | step
        | views
        | {"ema": 0.98, "lookahead_lr": 0.02, "unlabelled_weight": 1.0, "consistency_weight": 1.0},
        # A half-round of eight epochs has about two hundred steps.
        "incv": _incv(True)
        | {
            "epochs": 45,
            "batch_size": 32,
            "rounds": 2,
            "optimizer": "adam",
            "schedule": "steps",
            "lr_drops": (),
        },
        "mlnt": _mlnt(10)
        | step
        | {"guide_share": 1 / 3, "label_sets": 3, "lookahead_start": 0.1, "lookahead_ramp": 0.4, "ema": 0.98},
        "mslg": _mslg() | step | {"correct_start": 1 / 3},
    }


def cifar(many: bool, asymmetric: bool, common: Recipe) -> dict[str, Recipe]:
    """For 32x32 images.

    Args:
        many: whether there are a hundred classes.
        asymmetric: whether the noise depends on the class.
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
    ieg = _ieg() | common | {
        # 200,000 steps of 490 an epoch, the first period of 500 steps. The decay is that of the Wide ResNet;
        # the published numbers under asymmetric noise are from a ResNet-29, which is not here.
        "model": "wide_resnet28_10", "epochs": 408, "batch_size": 100, "lr": 0.1, "weight_decay": 5e-4,
        "schedule": "restarts", "lr_restart_epochs": 1,
    }  # fmt: skip
    mlnt = _mlnt(100 if many else 10) | common | {
        # The authors' network is a thinner one of 32 layers; the DMLP paper cites a rerun on this one. As a
        # reimplementation quotes them from the paper, whose code is for Clothing1M: 120 epochs for either
        # network, a drop after 80 of them. No source of the weight decay is known.
        "model": "preact_resnet18", "epochs": 240, "batch_size": 128, "lr": 0.2, "weight_decay": 1e-4,
        "lr_drops": (80 / 240, 200 / 240),
    }  # fmt: skip
    incv = _incv(not asymmetric) | {
        # Four rounds of twice 50 epochs, then 200. The authors' network is a thinner one of 32 layers; the
        # DMLP paper cites a rerun on this one. Keras adds the decay to the loss without the factor 1/2.
        "model": "preact_resnet18", "epochs": 600, "batch_size": 128, "optimizer": "adam", "lr": 1e-3,
        "weight_decay": 2e-4, "schedule": "steps", "lr_drops": (),
    }  # fmt: skip
    # Warm-up, threshold and sharpening are DivideMix's; the weight of unlabelled rows is that of the code,
    # which is for another data set of a hundred classes.
    warm_up = 30 if many else 10
    famus = _famus(50.0) | common | {
        "model": "preact_resnet18", "epochs": 300 + warm_up, "batch_size": 64, "lr": 0.02,
        "weight_decay": 5e-4, "divide_warmup": warm_up,
        "lr_drops": ((200 + warm_up) / (300 + warm_up), (250 + warm_up) / (300 + warm_up)),
    }  # fmt: skip
    return {"famus": famus, "ieg": ieg, "incv": incv, "mlnt": mlnt, "mslg": mslg}


def clothing1m() -> dict[str, Recipe]:
    """What differs for Clothing1M from CIFAR with the settings that all methods share there."""
    return {
        # The unlabelled rows' weight is DivideMix's; the paper's supplement does not have it.
        "famus": {
            "epochs": 151, "batch_size": 32, "lr": 2e-3, "weight_decay": 1e-3, "divide_warmup": 1,
            "lr_drops": (101 / 151,), "lambda_u": 0.0, "epoch_rows": 32_000,
        },
        # Three epochs for the first network, with a drop after two, and one for the second.
        "mlnt": {
            "epochs": 4, "batch_size": 32, "optimizer": "momentum", "lr": 8e-4, "weight_decay": 1e-3,
            "lr_drops": (2 / 4,), "augment": "none", "guide_share": 3 / 4, "lookahead_lr": 0.02,
            "lookahead_start": 500 / 31_250, "lookahead_ramp": 2000 / 31_250, "consistency_weight": 1 / 14,
        },
        "mslg": {
            "epochs": 10, "batch_size": 32, "optimizer": "momentum", "lr": 1e-3, "weight_decay": 1e-4,
            "lr_drops": (0.5,), "correct_start": 1 / 10, "label_lr": 1500.0,
        },
    }  # fmt: skip


def _famus(lambda_u: float) -> Recipe:
    return {
        "divide_warmup": 10,  # epochs of cross-entropy on all labels
        "threshold": 0.5,  # from which probability on a label is kept
        "epoch_rows": 0,  # rows drawn for each epoch, as many of every given class; 0 for all rows
        "sharpen": 0.5,  # temperature of refined and guessed labels
        "mixup": 4.0,  # of Beta(a, a)
        "lambda_u": lambda_u,  # weight of the unlabelled rows
        "lambda_u_ramp": 16,  # epochs after the warm-up over which it rises
        "meta_lr": 1e-3,  # of the network that makes row weights
        "meta_decay": 5e-4,  # of it
        "weight_width": 100,  # its hidden layer
        "gated_tensors": 13,  # parameter tensors below the last layer that have a gate
        "gates_lr": 0.1,  # of the gates' networks
        "gates_open": 4.0,  # number of open gates that the penalty favours
        "gates_weight": 0.1,  # of that penalty
        "mismatch_weight": 0.1,  # of the last layer's training gradient differing from the meta gradient
    }


def _ieg() -> Recipe:
    return {
        "strong_augment": "autoaugment",  # policy of the second view; retrain.augment is that of the first
        "sharpen": 0.5,  # temperature of the guessed label
        "mixup": 0.5,  # of Beta(a, a)
        "given_share": 0.9,  # e, the given label's share in the look-ahead and beside the row weights
        "lookahead_lr": 0.1,  # length of the look-ahead step
        "unlabelled_weight": 5.0,  # of mixed rows with guessed labels
        "consistency_weight": 20.0,  # of the KL divergence between the views
        "ema": 0.999,  # largest decay of the weight average
        "lr_restart_growth": 1.5,  # length of each period over that of the one before
        "lr_restart_peak": 0.9,  # its first learning rate over that of the one before
    }


def _incv(symmetric: bool) -> Recipe:
    return {
        "symmetric": symmetric,  # whether a wrong label may be any class; if not, nothing is discarded
        "rounds": 4,  # of selection, with two half-rounds each
        "rounds_share": 400 / 600,  # share of the epochs that these take
        # Factors of the learning rate from these shares of a half-round's epochs on, and of Co-teaching's.
        "select_rates": ((0.0, 1.0), (21 / 50, 0.5), (31 / 50, 0.25), (41 / 50, 0.1)),
        "teach_rates": ((0.0, 1.0), (0.4, 0.1), (0.6, 0.01), (0.8, 0.001), (0.9, 0.0005)),
        "forget_epochs": 10,  # epochs of Co-teaching over which the share that is left out rises
        "candidates_start": 0.2,  # share of its epochs after which candidates join; twice that at high noise
    }


def _mlnt(classes: int) -> Recipe:
    return {
        "guide_share": 0.5,  # share of the epochs for the first network, whose features find neighbours
        "label_sets": 10,  # M, in each step
        "neighbours": 10,  # nearest rows of the batch, one of which gives its label
        "perturbed_share": 0.5,  # share of the batch whose labels are drawn anew in each set
        "lookahead_lr": 0.2,  # alpha, length of the look-ahead step
        "lookahead_start": 2 / 120,  # share of the second network's epochs at which the teacher starts
        "lookahead_ramp": 20 / 120,  # share at which the weight of its loss is reached
        "consistency_weight": 0.4 / classes,  # of its loss; the authors' is divided by the classes
        "ema_first": 0.99,  # decay of the teacher's weights up to then
        "ema": 0.999,  # and after
        "second_order": True,  # differentiate through the look-ahead step's gradient
    }


def _mslg() -> Recipe:
    return {
        "correct_start": 44 / 120,  # share of the epochs with cross-entropy on the given labels
        "lookahead_lr": 0.5,  # alpha, length of the look-ahead step
        "label_lr": 4000.0,  # beta, of the labels' logits; the gradient is that of a mean over rows
        "label_scale": 10.0,  # K, the given class's logit at first
        "entropy_weight": 1.0,  # gamma
    }
