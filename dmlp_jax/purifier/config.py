"""Collects the settings that `purify` takes: a class for each of its two schedules."""

from typing import Any

from dmlp_jax.purifier.base.errors import InputError
from dmlp_jax.purifier.paper import config as paper_config
from dmlp_jax.purifier.paper.config import PaperConfig
from dmlp_jax.purifier.posterior import config as posterior_config
from dmlp_jax.purifier.posterior.config import PurifyConfig

Config = PurifyConfig | PaperConfig
# The classes by the names that command lines and configuration files use.
PRESETS: dict[str, type[PurifyConfig] | type[PaperConfig]] = {"default": PurifyConfig, "paper": PaperConfig}

__all__ = ["PRESETS", "Config", "PaperConfig", "PurifyConfig", "check_config"]


def check_config(config: Any) -> None:
    """Checks that `config` is a configuration and that its settings are possible.

    Raises:
        InputError: the message names the setting and its possible values.
    """
    if isinstance(config, PurifyConfig):
        posterior_config.check(config)
    elif isinstance(config, PaperConfig):
        paper_config.check(config)
    else:
        raise InputError(
            f"config must be a PurifyConfig or what PurifyConfig.paper() gives, got {type(config).__name__}"
        )
