"""Holds the constants of every retraining method, as data: `config.recipes.<method>`.

A recipe holds the method's defaults for the common settings of `config.retrain` (used where those are None)
and the method's own constants. Constants that depend on the noise rate are pairs (from this noise rate on,
value). The authors tabulate them by the share of labels that were redrawn. As a redrawn label may be the true
one, redrawing 20, 50, 80 and 90 % on ten classes leaves 18, 45, 72 and 81 % wrong; the bounds lie half-way
between these. No method has a noise rate of its own: it is estimated, or given as `retrain.noise_rate`.
"""

from typing import Any

from dmlp_jax.retrain import (
    recipes_contrast,
    recipes_correcting,
    recipes_lookahead,
    recipes_semi_supervised,
)

Recipe = dict[str, Any]

# Every recipe has these; the values are those of the digits demo and of features.
COMMON: Recipe = {
    # small_cnn, cnn9, resnet18, resnet34, resnet50, preact_resnet18, wide_resnet28_2, wide_resnet28_8,
    # wide_resnet28_10, mlp, linear
    "model": "auto",
    "stem": "auto",  # of a ResNet: cifar, imagenet; auto: by the images, or the pretrained encoder's
    "epochs": 30,
    "batch_size": 128,
    "optimizer": "adamw",  # adam, adamw, sgd (Nesterov), momentum, lars; adam_switch (Co-teaching)
    "lr": 3e-3,
    "weight_decay": 5e-4,
    "decay_all": False,  # also on biases and batch norm, as PyTorch's optimisers do
    "momentum": 0.9,  # sgd, momentum, lars
    "schedule": "cosine",  # see training/learning_rates.py, also for the settings that follow
    "warmup_epochs": 3.0,  # cosine: linear warm-up
    "lr_drops": (0.5,),  # steps: shares of the epochs
    "lr_drop": 0.1,  # steps: factor
    "lr_decay_start": 0.5,  # linear: share of the epochs
    "lr_table": ((0.0, 1.0),),  # table: pairs (share of the epochs, factor)
    "lr_min": 0.0,  # cosine, restarts
    "lr_restart_epochs": 10,  # restarts
    "augment": "auto",  # see data/augment/; auto, by the input: affine, crop_flip or none
    "crop_size": 0,  # side of the square that the network sees, cut out of the image; 0 for all of it
    "dtype": "float32",
    "soft_labels": False,  # purified labels as distributions; False takes the most probable class
    "checkpoint_epochs": 15,
}


def small() -> dict[str, Recipe]:
    """For the digits demo and for features: few rows, short runs, one optimiser for all methods."""
    methods: dict[str, Recipe] = {
        "naive": {"soft_labels": True},
        "gce": {"gce_q": 0.7},
        "bootstrap": {"bootstrap_share": 0.95},
        "elr": {"elr_beta": 0.7, "elr_strength": 3.0},
        # The average spans about twenty steps, as a short run has few steps.
        "elr_plus": _elr_plus(ema=0.95),
        "co_teaching": {"forget_epochs": 10},
        "co_teaching_plus": {"forget_epochs": 10, "plus_start": 0.1},
        "cdr": {},
        "dividemix": {
            **_dividemix(10),
            "batch_size": 64,
            "epochs": 60,
            "bound_by_noise": True,
            "divide_by": "confidence",
            "soft_labels": True,
        },
        **{
            name: recipe | {"batch_size": 64, "optimizer": "momentum", "lr": 0.02} | _COUPLED_SMALL[name]
            for name, recipe in _coupled().items()
        },
    }
    methods |= recipes_correcting.small() | recipes_contrast.small()
    methods |= recipes_lookahead.small() | recipes_semi_supervised.small()
    return {name: COMMON | recipe for name, recipe in methods.items()}


def cifar(classes: int, asymmetric: bool) -> dict[str, Recipe]:
    """For 32x32 images: the authors' networks and constants.

    Args:
        classes: 10 or 100; other images take those of CIFAR-10.
        asymmetric: whether the noise depends on the class.
    """
    many = classes == 100
    images = COMMON | {"augment": "crop_flip", "dtype": "bfloat16", "checkpoint_epochs": 20}
    torch = {"optimizer": "momentum", "momentum": 0.9, "schedule": "steps", "decay_all": True}
    # The schedule is the usual one of CIFAR ResNets (the DMLP paper gives none).
    naive = {
        "model": "resnet18", "epochs": 200, "optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4,
        "warmup_epochs": 1.0,
    }  # fmt: skip
    hold = {
        "elr_beta": 0.9 if many or asymmetric else 0.7,
        "elr_strength": 7.0 if many else 1.0 if asymmetric else 3.0,
    }
    elr = torch | {"model": "resnet34", "lr": 0.02, "weight_decay": 1e-3, "epochs": 150} | hold
    if many:
        elr |= {"lr_drops": (80 / 150, 120 / 150), "lr_drop": 0.01}
    elif asymmetric:
        elr |= {"epochs": 120, "lr_drops": (40 / 120, 80 / 120), "lr_drop": 0.01}
    else:
        elr |= {"schedule": "restarts", "lr_min": 1e-3, "lr_restart_epochs": 10}
    elr_plus: Recipe = torch | {
        "model": "preact_resnet18", "lr": 0.02, "weight_decay": 5e-4, "epochs": 250 if many else 200,
        "lr_drops": (0.8,) if many else (0.75,),
    }  # fmt: skip
    # The authors' ramps are 40,000 steps long, of 351 steps an epoch.
    elr_plus |= _elr_plus(ema=0.997) | hold | {"ema_ramp": 40_000 / (351 * elr_plus["epochs"])}
    if many:
        elr_plus |= {"elr_ramp": 40_000 / (351 * 250), "elr_reweight": True}
    co_teaching = {
        "model": "cnn9", "epochs": 200, "optimizer": "adam_switch", "lr": 1e-3, "weight_decay": 0.0,
        "schedule": "linear", "lr_decay_start": 0.5 if many else 0.4, "augment": "none", "forget_epochs": 10,
    }  # fmt: skip
    cdr = torch | {
        "model": "resnet50", "epochs": 200, "batch_size": 64, "lr": 0.01, "weight_decay": 1e-3,
        "lr_drops": (0.2, 0.4),
    }  # fmt: skip
    dividemix = torch | {
        "model": "preact_resnet18", "epochs": 300, "batch_size": 64, "lr": 0.02, "weight_decay": 5e-4,
        "lr_drops": (0.5,), "divide_warmup": 30 if many else 10,
    }  # fmt: skip
    dividemix = _dividemix(classes) | dividemix
    coupled = torch | {
        "model": "resnet18", "epochs": 120, "batch_size": 100, "lr": 0.1, "weight_decay": 5e-4,
        "lr_drops": (80 / 120, 100 / 120), "augment": "reflect_flip",
    }  # fmt: skip
    if asymmetric:
        # 150 is C2D's; DivideMix has no results for CIFAR-100 with asymmetric noise.
        dividemix |= {"lambda_u": ((0.0, 150.0 if many else 0.0),), "confidence_penalty": True}
    methods: dict[str, Recipe] = {
        "naive": naive | {"soft_labels": True},
        "gce": naive | {"gce_q": 0.7},
        "bootstrap": naive | {"bootstrap_share": 0.95},
        "elr": elr,
        "elr_plus": elr_plus,
        "co_teaching": co_teaching,
        # The authors use smaller networks than this; the DMLP paper cites a rerun on a larger one.
        # Their loop begins at epoch 1, so disagreement is asked for after 4 and 19 epochs, not 5 and 20.
        "co_teaching_plus": co_teaching | {"plus_start": 4 / 200 if many else 19 / 200},
        "cdr": cdr,
        "dividemix": dividemix,
        **{name: coupled | recipe for name, recipe in _coupled().items()},
        # The authors' network; the other coupled methods use a ResNet-32, thinner than any network here. The
        # DMLP paper compares all of them on a ResNet-18 (Table 6).
        "mslc": coupled | _coupled()["mslc"] | {"model": "resnet34"},
        # 80,000 steps of 490 an epoch.
        "l2r": coupled
        | {"augment": "crop_flip", "epochs": 163, "weight_decay": 2e-4, "lr_drops": (40 / 80, 60 / 80)},
    }
    methods |= recipes_correcting.cifar(many, asymmetric, torch)
    methods |= recipes_contrast.cifar(many, asymmetric, torch)
    methods |= recipes_lookahead.cifar(many, asymmetric, torch)
    methods |= recipes_semi_supervised.cifar(many)
    return {name: images | recipe for name, recipe in methods.items()}


def clothing1m() -> dict[str, Recipe]:
    """For Clothing1M: a ResNet-50 that starts from the pretrained encoder, 80 epochs.

    DivideMix, SSR, RRL and the methods in `recipes_lookahead` use their authors' constants for Clothing1M.
    MLC uses constants of its own: its authors' batches of 32, learning rate .1 and 15 epochs start from
    ImageNet weights. The other methods use the constants for CIFAR with the common settings of `naive`. The
    DMLP paper does not give the learning rate of `naive`; here it is that of Ghosh and Lan's fine-tuning.
    """
    common = {
        "model": "resnet50", "epochs": 80, "batch_size": 64, "crop_size": 224, "checkpoint_epochs": 1,
        "optimizer": "momentum", "lr": 1e-3, "weight_decay": 1e-3, "schedule": "steps", "lr_drops": (0.5,),
    }  # fmt: skip
    methods = {name: recipe | common for name, recipe in cifar(10, asymmetric=True).items()}
    methods["dividemix"] |= {
        "batch_size": 32, "lr": 2e-3, "divide_warmup": 1, "threshold": 0.5, "loss_memory": 1, "mixup": 0.5,
        "lambda_u": 0.0, "labelled_only": True, "confidence_penalty": True, "epoch_rows": 32_000,
    }  # fmt: skip
    methods["mlc"] |= {"meta_lr": 3e-3, "label_skip": True, "gradient_steps": 5}
    authors = (recipes_correcting, recipes_contrast, recipes_lookahead)
    for name, recipe in (item for module in authors for item in module.clothing1m().items()):
        methods[name] |= recipe
    return methods


# The meta networks are updated once a step, and there are a hundredth of the authors' steps: so batches are
# smaller and learning rates larger. MSLC starts before the labels are memorised. The constants were chosen on
# a seed that no benchmark uses.
_COUPLED_SMALL: dict[str, Recipe] = {
    "mlc": {},
    "mlc_decoupled": {},
    "mslc": {"meta_lr": 1e-2, "correct_start": 1 / 3},
    "meta_weight_net": {"meta_lr": 1e-2},
    "l2r": {},
}


def _coupled() -> dict[str, Recipe]:
    weights = {
        "meta_lr": 1e-3,  # Adam's, of the networks that make weights
        "meta_decay": 1e-4,  # of these
        "weight_width": 100,  # their hidden layer
        "lookahead_scale": 1.0,  # learning rate of the look-ahead step over the network's
    }
    mlc = {
        "meta_lr": 3e-4,  # AMSGrad's, of the network that corrects labels
        "label_embedding": 128,  # width of the noisy label's embedding
        "label_width": 128,  # of that network's hidden layers
        "label_skip": False,  # let it keep a part of the noisy label; the authors do on Clothing1M
        "gradient_steps": 1,  # steps between its updates; 5 on Clothing1M
    }
    return {
        "mlc": mlc,
        # Share of the epochs after which the network's weights are fixed; 70 epochs in the DMLP paper.
        "mlc_decoupled": mlc | {"frozen_from": 70 / 120},
        "mslc": weights
        | {
            "correct_start": 80 / 120,  # share of the epochs with cross-entropy on the given labels
            "lookahead_scale": 10.0,
        },
        "meta_weight_net": weights,
        "l2r": {},
    }


def _elr_plus(ema: float) -> Recipe:
    return {
        "elr_beta": 0.7,  # decay of the running targets
        "elr_strength": 3.0,  # lambda, the weight of the regularisation term
        "elr_ramp": 0.0,  # share of the epochs over which lambda rises
        "elr_reweight": False,  # multiply the labels by the running targets
        "mixup": 1.0,  # of Beta(a, a)
        "ema": ema,  # decay of the weight average
        "ema_ramp": 0.5,  # share of the epochs over which that rises from 0
    }


def _dividemix(classes: int) -> Recipe:
    lambda_u: tuple[tuple[float, float], ...]
    if classes == 100:
        lambda_u, high = ((0.0, 25.0), (0.35, 150.0)), 0.84
    else:
        lambda_u, high = ((0.0, 0.0), (0.315, 25.0), (0.765, 50.0)), 0.765
    return {
        "divide_warmup": 10,  # epochs of cross-entropy on all labels
        "confidence_penalty": False,  # in these: negative entropy, for noise that depends on the class
        "threshold": ((0.0, 0.5), (high, 0.6)),  # tau: from which probability on a label is kept
        "loss_memory": ((0.0, 1), (high, 5)),  # epochs whose losses are averaged
        "divide_by": "losses",  # or confidence: the largest probability of soft labels; not in the paper
        "bound_by_noise": False,  # take no more labels for wrong than the noise rate says; not in the paper
        "epoch_rows": 0,  # rows drawn for each epoch, as many of every given class; 0 for all rows
        "sharpen": 0.5,  # temperature T
        "mixup": 4.0,  # of Beta(a, a)
        "lambda_u": lambda_u,  # weight of the unlabelled rows
        "labelled_only": False,  # train on the mixtures of labelled rows alone, as on Clothing1M
        "lambda_u_ramp": 16,  # epochs after the warm-up over which it rises
    }
