"""Defines `PaperConfig`, the settings of the paper's own schedule."""

import dataclasses
from typing import Any

import numpy as np

from dmlp_jax.purifier.base import settings
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.base.settings import static

LABEL_OPTIMIZERS = ("sgd", "adam")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """Settings of the paper's schedule, Eq. 4-9 (`paper/schedule.py`); made by `PurifyConfig.paper()`.

    lambda 1, alpha_I .01, entropy weight 1, alpha_E 1 and 100 epochs are printed in the paper. The batches,
    Adam's learning rates and the period of 20 epochs come from the authors' script.

    Static fields shape the program: a new value compiles anew. The other fields are numbers, the leaves of
    the pytree, so that `jax.vmap` and `jax.jit` work over them.

    Attributes:
        steps: epochs (the paper: 100 on CIFAR, 50 on Clothing1M). Static.
        num_folds: folds of the clean set on which the trivial baselines are tuned, at least 2. Static.
        ipc: take the meta step on the labels (Eq. 6-7). Static.
        eac: write the classifier's predictions into the labels (Eq. 9). Static.
        eac_period: epochs between two label writes, T in the paper, which gives no value. Static.
        keep_label_history: keep the hard labels of every epoch, `history['labels']` [steps, n], so that a
            report can draw label accuracy over time; costs a byte per row and epoch (4 above 256 classes).
            Static.
        label_optimizer: 'sgd' (Eq. 7) or 'adam' (the authors' script). Static.
        ipc_batch_size: training rows of one ridge solve, rounded up to a multiple of `eac_batch_size`.
            Static.
        eac_batch_size: training rows of one classifier step. Static.
        num_members: independent classifiers trained side by side. Static.
        ridge_penalty: lambda of Eq. 4.
        label_lr: alpha_I of Eq. 7.
        entropy_weight: weight of the entropy in the validation loss (Eq. 6).
        eac_momentum: alpha_E of Eq. 9, the share of the new label that a write takes, in [0, 1].
        eac_lr: Adam's learning rate for the classifier.
        eac_lr_drop: factor on `eac_lr` after the first four epochs.
        eac_entropy_weight: weight of the classifier's own entropy in Eq. 8.
    """

    steps: int = static(100)
    num_folds: int = static(3)
    ipc: bool = static(True)
    eac: bool = static(True)
    eac_period: int = static(20)
    keep_label_history: bool = static(False)
    label_optimizer: str = static("sgd")
    ipc_batch_size: int = static(7000)
    eac_batch_size: int = static(500)
    num_members: int = static(1)
    ridge_penalty: float = 1.0
    label_lr: float = 0.01
    entropy_weight: float = 1.0
    eac_momentum: float = 1.0
    eac_lr: float = 0.006
    eac_lr_drop: float = 0.1
    eac_entropy_weight: float = 1.0

    def __new__(cls, **given: Any) -> "PaperConfig":
        """Refuses fields of other classes before the dataclass's own __init__ does.

        Raises:
            InputError: a field is unknown.
        """
        settings.refuse_unknown(
            cls, given, {"preset": "PurifyConfig() is the default preset, this the paper's"}
        )
        return super().__new__(cls)


settings.register(PaperConfig)


def check(config: PaperConfig) -> None:
    """Refuses impossible settings; numbers are checked where they are concrete.

    Raises:
        InputError: a setting is impossible; the message names it and its possible values.
    """
    if config.label_optimizer not in LABEL_OPTIMIZERS:
        known = ", ".join(map(repr, LABEL_OPTIMIZERS))
        raise InputError(f"config.label_optimizer is {config.label_optimizer!r}; it must be one of {known}")
    least = dict.fromkeys(("steps", "eac_period", "ipc_batch_size", "eac_batch_size", "num_members"), 1)
    settings.check_whole_numbers(config, {**least, "num_folds": 2})
    settings.check_positive(config, "ridge_penalty")
    settings.check_positive(config, "eac_momentum", zero=True)
    if not settings.is_traced(config.eac_momentum) and np.any(np.asarray(config.eac_momentum) > 1):
        raise InputError(f"config.eac_momentum is {config.eac_momentum}; it is a share, at most 1")
