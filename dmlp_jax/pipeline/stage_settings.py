"""Which settings the result of a stage depends on."""

import json
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.config import flatten
from dmlp_jax.data import datasets

# Which keys a stage reads, as prefixes.
_KEYS = {
    "split": ("seed", "data.", "noise.", "val."),
    "pretrain": ("seed", "data.", "pretrain."),
    "extract": ("extract.",),
    "purify": ("purify.",),
    "retrain": ("retrain.",),
}
# Which stages a stage reads from, directly or not. Features of one's own have no encoder before them.
_UPSTREAM = {
    "split": (),
    "pretrain": (),
    "extract": ("split", "pretrain"),
    "purify": ("split", "pretrain", "extract"),
    "retrain": ("split", "pretrain", "extract", "purify"),
}
_ENCODER_STAGES = ("pretrain", "extract")
# Settings that change where the data come from, how often a state is saved and which arms run, but no
# result; a data set is recognised by its content.
_FREE = (
    "data.dir",
    "data.path",
    "data.workers",
    "data.memory_gb",
    "data.max_broken",
    "pretrain.checkpoint_epochs",
    "retrain.checkpoint_epochs",
    "retrain.labels",
)


def relevant_settings(stage: str, config: ConfigDict) -> dict[str, Any]:
    """The settings that a stage's result depends on, its own and those of the stages before it.

    Args:
        stage: as in `Workdir.is_complete`.
        config: the whole configuration.

    Returns:
        Dotted keys and JSON values.
    """
    name = stage.split("/")[0]
    stages = [name, *_UPSTREAM[name]]
    if not datasets.describe(config.data.name).has_images:
        stages = [other for other in stages if other not in _ENCODER_STAGES]
    prefixes = tuple(prefix for other in stages for prefix in _KEYS[other])
    return {
        key: json.loads(json.dumps(value))
        for key, value in flatten(config)
        if key.startswith(prefixes) and key not in _FREE
    }
