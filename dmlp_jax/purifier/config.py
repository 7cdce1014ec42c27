"""Settings of the purifier: one frozen dataclass that is also a pytree."""

import dataclasses
from typing import Any

import jax

PRESETS = ("default", "paper")
LABEL_OPTIMIZERS = ("sgd", "adam")


def _static(default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class PurifyConfig:
    """Settings of `purify`.

    Static fields shape the program; a new value compiles anew. The other fields are numbers, the leaves
    of the pytree, so that `jax.vmap` and `jax.jit` work over them.

    Attributes:
        preset: 'default', the posterior schedule (`schedule.py`), or 'paper', Eq. 4-9 (`paper.py`). It names
            the schedule only; `PurifyConfig.paper()` has the paper's numbers too. Static.
        steps: rounds (default) or epochs (paper: 100 on CIFAR, 50 on Clothing1M). Static.
        race_steps: rounds after which the candidate that does best goes on alone. No round before three
            quarters of them is chosen. Default preset. Static.
        num_folds: folds of the clean set for held-out selection, at least 2. Default preset. Static.
        refits: maximum number of times that the classifier is averaged with the closed form of its labels
            after the rounds, see `discriminant.py`; 0 leaves it out. Default preset. Static.
        ipc: take the meta step on the labels (Eq. 6-7). On in `paper()`; off in the default, where it adds
            little for half as much time again, see the README. Static.
        eac: False leaves the classifier's label writes out. Paper preset only. Static.
        posterior: False writes the classifier's prediction instead of the posterior. Default preset. Static.
        selection: False takes the first candidate at its last round, whatever their scores. Default preset.
            Static.
        eac_period: epochs between two label writes, T in the paper (which gives no value); the default
            preset writes every round. Paper preset. Static.
        keep_label_history: keep the hard labels of every step, `history['labels']` [steps, n], so that a
            report can draw label accuracy over time; costs a byte per row, step and candidate (4 above 256
            classes). Static.
        label_optimizer: 'sgd' (Eq. 7) or 'adam' (the authors' script). Paper preset. Static.
        ipc_batch_size: training rows of one ridge solve, rounded up to a multiple of `eac_batch_size`. Paper
            preset. Static.
        eac_batch_size: training rows of one classifier step. Paper preset. Static.
        num_members: independent classifiers trained side by side. Paper preset. Static.
        ridge_penalty: lambda of Eq. 4; in units of trace(F^T F) / d in the default preset.
        label_lr: alpha_I of Eq. 7; in the default preset in units of the inverse curvature of the validation
            loss.
        label_lr_decay: factor on `label_lr` after each round. Default preset.
        entropy_weight: weight of the entropy term of the validation loss (Eq. 6).
        val_weight: weight of a clean row beside a training row in the classifier's loss. Default preset.
        weight_decay: L2 strength of the classifier per feature, one for each candidate: features of unit
            scale under a Gaussian prior on the weights have logits of variance 1 / weight_decay. Default
            preset.
        eac_momentum: alpha_E of Eq. 9, the share of the new label that a write takes, in [0, 1]. Paper
            preset; 1 in the default preset, which keeps no labels from round to round.
        eac_lr: Adam's learning rate for the classifier. Paper preset.
        eac_lr_drop: factor on `eac_lr` after the first four epochs. Paper preset.
        eac_entropy_weight: weight of the classifier's own entropy in Eq. 8. Paper preset.
    """

    preset: str = _static("default")
    steps: int = _static(60)
    race_steps: int = _static(16)
    num_folds: int = _static(3)
    refits: int = _static(4)
    ipc: bool = _static(False)
    eac: bool = _static(True)
    posterior: bool = _static(True)
    selection: bool = _static(True)
    eac_period: int = _static(20)
    keep_label_history: bool = _static(False)
    label_optimizer: str = _static("sgd")
    ipc_batch_size: int = _static(7000)
    eac_batch_size: int = _static(500)
    num_members: int = _static(1)
    ridge_penalty: float = 1.0
    label_lr: float = 0.1
    label_lr_decay: float = 0.9
    entropy_weight: float = 1.0
    val_weight: float = 1.0
    weight_decay: tuple[float, ...] = (0.1, 0.3, 0.03, 1.0)
    eac_momentum: float = 1.0
    eac_lr: float = 0.006
    eac_lr_drop: float = 0.1
    eac_entropy_weight: float = 1.0

    @classmethod
    def paper(cls, **overrides: Any) -> "PurifyConfig":
        """The paper's own setting; what it leaves open is taken from the authors' script.

        lambda 1, alpha_I .01, entropy weight 1, alpha_E 1 and 100 epochs are printed in the paper; the
        batches, Adam's learning rates and the period of 20 epochs come from the script.

        Args:
            **overrides: fields to change.
        """
        printed = {"preset": "paper", "steps": 100, "ipc": True, "label_lr": 0.01}
        return cls(**{**printed, **overrides})


_FIELDS = dataclasses.fields(PurifyConfig)
jax.tree_util.register_dataclass(
    PurifyConfig,
    data_fields=[f.name for f in _FIELDS if not f.metadata.get("static")],
    meta_fields=[f.name for f in _FIELDS if f.metadata.get("static")],
)
