"""Holds the constants of every retraining method, as data: `config.recipes.<method>`.

A recipe holds the method's defaults for the common settings of `config.retrain` (used where those are None)
and the method's own constants. Constants that depend on the noise rate are pairs (from this noise rate on,
value). The authors tabulate them by the share of labels that were redrawn. As a redrawn label may be the true
one, redrawing 20, 50, 80 and 90 % on ten classes leaves 18, 45, 72 and 81 % wrong; the bounds lie half-way
between these. No method has a noise rate of its own: it is estimated, or given as `retrain.noise_rate`.
"""

from typing import Any

from dmlp_jax.retrain import recipes_correcting, recipes_lookahead

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
        "m_correction": _m_correction(0.0),
        "moit_plus": _moit_plus() | _TUNED_SMALL | {"correct_start": 0.25},
        "rrl": _rrl() | {"neighbours": 20, "batch_size": 64},
        "sel_cl_plus": _sel_cl_plus() | _TUNED_SMALL | {"memory_per_class": 100, "queue": 256, "ema": 0.95},
        **{
            name: recipe | {"batch_size": 64, "optimizer": "momentum", "lr": 0.02} | _COUPLED_SMALL[name]
            for name, recipe in _coupled().items()
        },
    }
    methods |= recipes_lookahead.small()
    # The average spans about fifty of five to eight hundred steps.
    views = {"augment": "affine_weak", "batch_size": 32, "ema": 0.98}
    strong = views | {"epochs": 60, "unlabelled_ratio": 5, "strong_augment": "affine_strong"}
    methods |= {
        "mean_teacher": _mean_teacher() | views | {"epochs": 20},
        "mixmatch": _mixmatch(75.0) | views | {"epochs": 20},
        "fixmatch": _fixmatch() | strong,
        "uda": _uda() | strong,
    }
    methods |= recipes_correcting.small()
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
    m_correction = torch | {
        "model": "preact_resnet18", "epochs": 300, "lr": 0.1, "weight_decay": 1e-4,
        "lr_drops": (100 / 300, 250 / 300),
    }  # fmt: skip
    # From the noise rate on from which the dynamic variant's last accuracy is the better one.
    dynamic = ((0.0, 1.0), (0.65, 0.0), (0.84, 1.0)) if many else ((0.0, 0.0), (0.765, 1.0))
    m_correction |= _m_correction(0.0 if asymmetric else dynamic)
    # 250 epochs, then 70 of fine-tuning; for 80 % symmetric noise the authors fine-tune for 140.
    moit_plus = torch | {
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
    rrl = torch | {
        "model": "preact_resnet18", "epochs": 201, "lr": 0.02, "weight_decay": 5e-4,
        "schedule": "restarts", "lr_min": 2e-4, "lr_restart_epochs": 201,
    }  # fmt: skip
    rrl |= _rrl() | {
        "second_augment": "augmix", "correct_start": (16 if many else 6) / 201,
        "keep_above": 0.02 if many else 0.4 if asymmetric else 0.1,
        "prototype_ramp": 40 / 201 if many or asymmetric else 0.0,
    }  # fmt: skip
    coupled = torch | {
        "model": "resnet18", "epochs": 120, "batch_size": 100, "lr": 0.1, "weight_decay": 5e-4,
        "lr_drops": (80 / 120, 100 / 120), "augment": "reflect_flip",
    }  # fmt: skip
    if asymmetric:
        # 150 is C2D's; DivideMix has no results for CIFAR-100 with asymmetric noise.
        dividemix |= {"lambda_u": ((0.0, 150.0 if many else 0.0),), "confidence_penalty": True}
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
        "m_correction": m_correction,
        "moit_plus": _moit_plus() | moit_plus,
        "rrl": rrl,
        "sel_cl_plus": _sel_cl_plus() | sel_cl_plus,
        "mean_teacher": _mean_teacher() | wide | {"epochs": round(2**20 / per_epoch[1])},
        "mixmatch": _mixmatch(150.0 if many else 75.0) | mixmatch,
        "fixmatch": _fixmatch() | wide | {"epochs": round(2**20 / per_epoch[7])},
        "uda": _uda() | uda,
        **{name: coupled | recipe for name, recipe in _coupled().items()},
        # The authors' network; the other coupled methods use a ResNet-32, thinner than any network here. The
        # DMLP paper compares all of them on a ResNet-18 (Table 6).
        "mslc": coupled | _coupled()["mslc"] | {"model": "resnet34"},
        # 80,000 steps of 490 an epoch.
        "l2r": coupled
        | {"augment": "crop_flip", "epochs": 163, "weight_decay": 2e-4, "lr_drops": (40 / 80, 60 / 80)},
    }
    methods |= recipes_correcting.cifar(classes, asymmetric)
    methods |= recipes_lookahead.cifar(many, asymmetric, torch)
    return {name: images | recipe for name, recipe in methods.items()}


def clothing1m() -> dict[str, Recipe]:
    """For Clothing1M: a ResNet-50 that starts from the pretrained encoder, 80 epochs.

    DivideMix, SSR and the methods in `recipes_lookahead` use their authors' constants for Clothing1M. MLC
    uses constants of its own: its authors' batches of 32, learning rate .1 and 15 epochs start from ImageNet
    weights. The other methods use the constants for CIFAR with the common settings of `naive`. The DMLP paper
    does not give the learning rate of `naive`; here it is that of Ghosh and Lan's fine-tuning.
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
    authors = recipes_correcting.clothing1m() | recipes_lookahead.clothing1m()
    for name, recipe in authors.items():
        methods[name] |= recipe
    # The authors' second view is also of a smaller crop.
    methods["rrl"] |= {
        "epochs": 51, "optimizer": "momentum", "lr": 0.01, "weight_decay": 1e-4, "schedule": "restarts",
        "lr_restart_epochs": 51, "mixup": 0.5, "embedding_width": 32, "start_steps": 51,
        "correct_start": 2 / 51, "prototype_weight": 1.0, "prototype_ramp": 0.0, "mix_second": False,
        "epoch_rows": 64_000,
    }  # fmt: skip
    return methods


# The new classifier needs half of a short run, in which the learning rate is still large enough.
_TUNED_SMALL: Recipe = {
    "neighbours": 20, "batch_size": 64, "tune_start": 0.5, "bootstrap_start": 0.75,
}  # fmt: skip


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
