"""Makes the purifier's configuration from the `purify` settings of a run."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.errors import UserError
from dmlp_jax.purifier.config import PRESETS, Config


def make(settings: ConfigDict, **overrides: Any) -> Config:
    """The purifier's configuration that the `purify` settings describe: a preset and what differs from it.

    Args:
        settings: the `purify` part of the configuration.
        **overrides: further fields.

    Raises:
        UserError: an unknown preset, or a setting that the preset does not read.
    """
    if settings.preset not in PRESETS:
        raise UserError(f"purify.preset is {settings.preset!r}; it must be one of {', '.join(PRESETS)}")
    apart = ("preset", "paper_steps")
    chosen = {key: value for key, value in settings.items() if key not in apart and value is not None}
    if settings.preset == "paper":
        chosen = {"steps": settings.paper_steps} | chosen
    preset = PRESETS[settings.preset]
    known = [field.name for field in dataclasses.fields(preset)]
    for key, value in chosen.items():
        if key not in known:
            raise UserError(
                f"purify.{key} is {value}, but purify.preset={settings.preset} does not read it; "
                "leave it out, or take the other preset"
            )
    return preset(**{**chosen, **overrides})
