"""Defines how long a cell is trained: as in the paper, shorter, or a minute on a CPU."""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from dmlp_jax.config import apply_recipe
from dmlp_jax.errors import UserError


class Budget(NamedTuple):
    """A budget.

    Attributes:
        about: description.
        stand_in: whether to train on the embedded digits with small networks instead of the cell's data set.
        shorten: function that changes a configuration in place.
    """

    about: str
    stand_in: bool
    shorten: Callable[[ConfigDict], None]


def _as_it_is(config: ConfigDict) -> None:
    del config


def _short(config: ConfigDict) -> None:
    config.pretrain.epochs = min(config.pretrain.epochs, 100)
    config.retrain.epochs = max(10, apply_recipe(config).retrain.epochs // 5)
    if "divide_warmup" in config.recipes.get(config.retrain.method, {}):
        recipe = config.recipes[config.retrain.method]
        recipe.divide_warmup = max(1, recipe.divide_warmup // 5)


def _smoke(config: ConfigDict) -> None:
    config.pretrain.epochs, config.pretrain.warmup_epochs = 6, 1.0
    config.retrain.epochs = 4
    if "divide_warmup" in config.recipes.get(config.retrain.method, {}):
        config.recipes[config.retrain.method].divide_warmup = 2


BUDGETS = {
    "full": Budget("the configured epochs", False, _as_it_is),
    "short": Budget("100 epochs of pretraining, a fifth of those of retraining", False, _short),
    "smoke": Budget("the code of the cell on digits with a small network, a minute on a CPU", True, _smoke),
}


def get(name: str) -> Budget:
    """The budget `name`.

    Raises:
        UserError: no such budget.
    """
    if name not in BUDGETS:
        raise UserError(f"--budget={name}: there are {', '.join(BUDGETS)}")
    return BUDGETS[name]
