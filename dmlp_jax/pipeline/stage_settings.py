"""Selects the settings that the result of a stage depends on."""

import json
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.config import flatten
from dmlp_jax.data import datasets

# Prefixes of the settings that each stage reads.
_KEYS = {
    "split": ("seed", "data.", "noise.", "val."),
    "pretrain": ("seed", "data.", "pretrain."),
    "extract": ("extract.",),
    "purify": ("purify.",),
    "retrain": ("retrain.",),
}
# The stages that a stage depends on, directly or not. User-provided features have no encoder stage.
_UPSTREAM = {
    "split": (),
    "pretrain": (),
    "extract": ("split", "pretrain"),
    "purify": ("split", "pretrain", "extract"),
    "retrain": ("split", "pretrain", "extract", "purify"),
}
_ENCODER_STAGES = ("pretrain", "extract")
# Settings that do not change a result: where the data are, how often checkpoints are saved, which sources of
# labels are trained on. A data set is identified by its content.
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
        stage: name of the stage, as in `Workdir.is_complete`.
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
