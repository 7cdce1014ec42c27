"""Holds the constants of methods whose network corrects or selects labels; see `retrain.recipes`."""

from typing import Any

Recipe = dict[str, Any]


def small() -> dict[str, Recipe]:
    """For the digits demo and for features; what differs from the common settings."""
    # A class has about a hundred rows.
    few = {"neighbours": 20, "strong_augment": "affine", "augment": "affine_weak", "batch_size": 32}
    return {
        "m_correction": _m_correction(0.0),
        "joint_optim": _joint_optim()
        | {"correct_start": 0.3, "label_memory": 5, "schedule": "steps", "lr_drops": ()},
        "pencil": _pencil() | {"correct_start": 0.3, "correct_stop": 0.7, "label_lr": 20.0},
        "promix": _promix()
        | {"strong_augment": "affine", "augment": "affine_weak", "batch_size": 64, "divide_warmup": 5},
        # Purified distributions are better than classes on features, and as good on digits.
        **{name: _ssr() | few | {"soft_labels": True} for name in ("ssr", "ssr_plus")},
    }


def cifar(many: bool, asymmetric: bool, common: Recipe) -> dict[str, Recipe]:
    """For 32x32 images.

    Args:
        many: whether there are a hundred classes.
        asymmetric: whether the noise depends on the class.
        common: momentum SGD with drops of the learning rate, which the methods share.
    """
    ssr = _ssr() | common | {
        "model": "preact_resnet18", "epochs": 300, "batch_size": 128, "lr": 0.02, "weight_decay": 5e-4,
        "schedule": "cosine", "warmup_epochs": 0.0, "lr_min": 0.02 / 50,
    }  # fmt: skip
    if not asymmetric:
        # Its authors' commands are for CIFAR-100; the rule is taken over to CIFAR-10.
        ssr["relabel_above"] = ((0.0, 0.9), (0.347 if many else 0.315, 0.8))
    joint_optim = _joint_optim() | common | {
        "model": "preact_resnet18", "epochs": 200, "batch_size": 128, "lr": 0.08, "weight_decay": 1e-4,
        "schedule": "steps", "lr_drops": (),
    }  # fmt: skip
    pencil = _pencil() | common | {
        "model": "preact_resnet18", "epochs": 320, "batch_size": 128, "lr": 0.06, "weight_decay": 1e-4,
        "schedule": "table",
        "lr_table": ((0.0, 1.0), (200 / 320, 20 / 6), (240 / 320, 2 / 6), (280 / 320, 0.2 / 6)),
    }  # fmt: skip
    # The code of both has constants of asymmetric noise, that of Joint-Optim also those of CIFAR-10 with 70 %
    # symmetric noise. PENCIL's for symmetric noise are those with which MSLG's authors run it.
    if asymmetric:
        joint_optim |= {"lr": 0.03, "class_prior": 0.8, "entropy": 0.4}
        pencil |= {"label_lr": 600 / 128, "compatibility": 0.4, "entropy": 0.1}
    promix = _promix() | common | {
        "model": "resnet18", "epochs": 600, "batch_size": 256, "lr": 0.05, "weight_decay": 5e-4,
        "schedule": "cosine", "warmup_epochs": 0.0, "lr_min": 0.05e-3,
        "keep": 0.5 if asymmetric else ((0.0, 0.7), (0.347 if many else 0.315, 0.5)),
        "confidence_penalty": asymmetric,
    }  # fmt: skip
    if many:
        promix |= {"divide_warmup": 30, "confidence": 0.95, "adjust": 0.5, "debias": 0.5}
    m_correction = common | {
        "model": "preact_resnet18", "epochs": 300, "lr": 0.1, "weight_decay": 1e-4,
        "lr_drops": (100 / 300, 250 / 300),
    }  # fmt: skip
    # From the noise rate on from which the dynamic variant's last accuracy is the better one.
    dynamic = ((0.0, 1.0), (0.65, 0.0), (0.84, 1.0)) if many else ((0.0, 0.0), (0.765, 1.0))
    m_correction |= _m_correction(0.0 if asymmetric else dynamic)
    return {
        "m_correction": m_correction,
        "joint_optim": joint_optim, "pencil": pencil, "promix": promix, "ssr": ssr, "ssr_plus": dict(ssr),
    }  # fmt: skip


def clothing1m() -> dict[str, Recipe]:
    """For Clothing1M: the authors' constants.

    SSR's code switches the balance of the vote off by mistake here; its numbers need that.
    """
    ssr = {
        "epochs": 150, "batch_size": 32, "optimizer": "momentum", "lr": 2e-3, "weight_decay": 1e-3,
        "schedule": "steps", "lr_drops": (1 / 3, 2 / 3), "lr_min": 0.0, "relabel_above": 0.99, "mixup": 0.5,
        "balance_vote": False, "strong_augment": "autoaugment_imagenet", "head_width": 512, "head_dim": 512,
        "epoch_rows": 32_000,
    }  # fmt: skip
    # With these constants MSLG's authors run it.
    pencil = {
        "epochs": 20, "batch_size": 32, "optimizer": "momentum", "lr": 1e-3, "weight_decay": 1e-4,
        "schedule": "table", "lr_table": ((0.0, 1.0), (5 / 20, 0.1)), "correct_start": 5 / 20,
        "correct_stop": 10 / 20, "label_lr": 3000 / 32, "label_lr_drop": 500 / 3000, "compatibility": 0.08,
        "entropy": 0.8,
    }  # fmt: skip
    return {"pencil": pencil, "ssr": ssr, "ssr_plus": ssr}


def _m_correction(dynamic: Any) -> Recipe:
    return {
        "correct_start": 105 / 300,  # share of the epochs with mixup on the given labels
        "bootstrap": "hard",  # own predictions as the most probable class; or soft, as probabilities
        "dynamic": dynamic,  # 1 mixes by trust in the labels and sharpens predictions (MD-DYR-SH)
        "guided_share": 5 / 300,  # dynamic: share of the epochs that mix by trust only, before the correction
        "cooling_share": 88 / 300,  # dynamic: share of the epochs in which the temperature falls
        "mixup": 32.0,  # of Beta(a, a)
        "prior_weight": 1.0,  # of the penalty on the mean prediction
    }


def _joint_optim() -> Recipe:
    return {
        "correct_start": 70 / 200,  # share of the epochs on the given labels
        "label_memory": 10,  # epochs whose predictions are averaged
        "class_prior": 1.2,  # alpha, weight of the penalty on uneven classes
        "entropy": 0.8,  # beta, weight of the predictions' entropy
    }


def _pencil() -> Recipe:
    return {
        "correct_start": 70 / 320,  # share of the epochs on the given labels
        "correct_stop": 200 / 320,  # share of the epochs from which on labels are fixed
        "label_scale": 10.0,  # K, the first logit of the given label
        "label_lr": 400 / 128,  # lambda over the batch size
        "label_lr_drop": 1.0,  # factor on it in the second half of the correction
        "compatibility": 0.1,  # alpha, weight of the given labels
        "double_softmax": True,  # in that term, as in the authors' code
        "entropy": 0.8,  # beta, weight of the predictions' entropy
    }


def _promix() -> Recipe:
    return {
        "divide_warmup": 10,  # epochs of cross-entropy on all labels
        "confidence_penalty": False,  # in these: negative entropy, for noise that depends on the class
        "keep": ((0.0, 0.7), (0.3, 0.5)),  # rho: rows of small loss of each class, over its even share
        "confidence": 0.99,  # tau, above which a label or a guess is taken
        "guess_start": 350 / 600,  # share of the epochs from which on agreed guesses are taken
        "fill": 0.9,  # share of a batch up to which they are
        "adjust": 0.8,  # a, strength of the prior in losses
        "debias": 0.8,  # b, strength of the prior in guesses
        "prior_decay": 0.9999,  # of the running priors
        "ramp": 50 / 600,  # share of the epochs over which strong and mixed views rise
        "pseudo_weight": 0.1,  # beta, of the pseudo head's other rows
        "pseudo_ramp": 100 / 600,  # share of the epochs over which that rises
        "pseudo_stops": True,  # then it falls to 0, as in the authors' code
        "sharpen": 0.5,  # temperature T of the pseudo head's labels
        "mixup": 4.0,  # of Beta(a, a)
        "strong_augment": "randaugment3",  # policy of the strong views; the weak ones' is retrain.augment
    }


def _ssr() -> Recipe:
    return {
        "neighbours": 200,  # k, of a row's vote
        "relabel_above": 0.9,  # theta_r: from which probability on a row gets the network's class
        "select_above": 1.0,  # theta_s: share of the vote over the winner's from which on a label is selected
        "balance_vote": True,  # divide a class's share of the vote by its share of the labels
        "mixup": 4.0,  # of Beta(a, a)
        "strong_augment": "autoaugment",  # policy of the strong views; the weak ones' is retrain.augment
        "consistency": 1.0,  # lambda_fc, SSR+: weight of the distance between views
        "head_width": 256,  # SSR+: hidden layer of projector and predictor
        "head_dim": 128,  # SSR+: their output
        "epoch_rows": 0,  # rows drawn for each epoch, as many of every given class; 0 for all rows
    }
