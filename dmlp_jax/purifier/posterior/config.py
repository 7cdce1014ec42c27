"""Defines `PurifyConfig`, the settings of the default schedule."""

import dataclasses
from typing import Any

from dmlp_jax.purifier.base import settings
from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.base.settings import static
from dmlp_jax.purifier.paper.config import PaperConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PurifyConfig:
    """Settings of the default schedule (`posterior/schedule.py`); `PurifyConfig.paper()` gives the paper's.

    Static fields shape the program: a new value compiles anew. The other fields are numbers, the leaves of
    the pytree, so that `jax.vmap` and `jax.jit` work over them.

    Attributes:
        steps: rounds of expectation maximisation. Static.
        race_steps: rounds after which the best candidate goes on alone. No round before three quarters of
            them is chosen. Static.
        num_folds: folds of the clean set for held-out selection, at least 2. Static.
        refits: most times that the classifier is averaged with linear discriminant analysis of its labels
            after the rounds, see `posterior/lda.py`; 0 leaves it out. Static.
        kernel_points: training rows that each row is compared with by the kernel of the rounds on reviewed
            rows, see `reviewed/kernel.py`; 0 makes their ridge regression linear. Static.
        ipc: take the paper's meta step on the labels (Eq. 6-7) in every round. It adds little here, for half
            as much time again. Static.
        posterior: False writes the classifier's prediction instead of the posterior. Static.
        selection: False takes the first candidate at its last round, whatever their scores, without `refits`
            and without a comparison with the trivial baselines. Static.
        keep_label_history: keep the hard labels of every round, `history['labels']` [steps, n], so that a
            report can draw label accuracy over time; costs a byte per row, round and candidate (4 above 256
            classes). Static.
        val_weight: weight of a clean row relative to a training row in the classifier's loss.
        weight_decay: L2 strength of the classifier per feature, one for each candidate: features of unit
            scale under a Gaussian prior on the weights have logits of variance 1 / weight_decay.
        ridge_penalty: lambda of Eq. 4 in units of trace(F^T F) / d; only with `ipc`.
        label_lr: alpha_I of Eq. 7 in units of the inverse curvature of the validation loss; only with `ipc`.
        label_lr_decay: factor on `label_lr` after each round; only with `ipc`.
        entropy_weight: weight of the entropy in the validation loss (Eq. 6); only with `ipc`.
    """

    steps: int = static(60)
    race_steps: int = static(16)
    num_folds: int = static(3)
    refits: int = static(4)
    kernel_points: int = static(1000)
    ipc: bool = static(False)
    posterior: bool = static(True)
    selection: bool = static(True)
    keep_label_history: bool = static(False)
    val_weight: float = 1.0
    weight_decay: tuple[float, ...] = (0.1, 0.3, 0.03, 1.0)
    ridge_penalty: float = 1.0
    label_lr: float = 0.1
    label_lr_decay: float = 0.9
    entropy_weight: float = 1.0

    def __new__(cls, **given: Any) -> "PurifyConfig":
        """Refuses fields of other classes before the dataclass's own __init__ does.

        Raises:
            InputError: a field is unknown.
        """
        settings.refuse_unknown(cls, given, _HINTS)
        return super().__new__(cls)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickles; pickles of an earlier version hold fields of both presets.

        Raises:
            InputError: the pickle holds settings of the paper's preset.
        """
        if state.get("preset", "default") != "default":
            raise InputError(
                "a pickled PurifyConfig of the paper's preset: make it anew by PurifyConfig.paper()"
            )
        known = settings.names(PurifyConfig)
        self.__dict__.update({name: value for name, value in state.items() if name in known})

    @classmethod
    def paper(cls, **overrides: Any) -> PaperConfig:
        """The settings of the paper's own schedule, see `PaperConfig`.

        Args:
            **overrides: fields of `PaperConfig` to change.
        """
        return PaperConfig(**overrides)


_HINTS = {
    "preset": "PurifyConfig() is the default preset, PurifyConfig.paper() the paper's",
    **{
        name: f"only the paper's preset reads it, PurifyConfig.paper({name}=...)"
        for name in settings.names(PaperConfig)
        if name not in settings.names(PurifyConfig)
    },
}
settings.register(PurifyConfig)


def check(config: PurifyConfig) -> None:
    """Refuses impossible settings; numbers are checked where they are concrete.

    Raises:
        InputError: a setting is impossible; the message names it and its possible values.
    """
    settings.check_whole_numbers(
        config, {"steps": 1, "race_steps": 1, "num_folds": 2, "refits": 0, "kernel_points": 0}
    )
    if not isinstance(config.weight_decay, tuple) or not config.weight_decay:
        raise InputError(
            f"config.weight_decay must be a tuple with an entry per candidate, got {config.weight_decay!r}"
        )
    settings.check_positive(config, "ridge_penalty", "weight_decay")
    settings.check_positive(config, "val_weight", zero=True)
