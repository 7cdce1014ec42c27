"""Checks the settings of a run, section by section, before any stage begins, and resolves those left open."""

from typing import NamedTuple

from ml_collections import ConfigDict

from dmlp_jax.config import STAGES, apply_recipe
from dmlp_jax.contrastive import pretrain
from dmlp_jax.coupled import registry as coupled_methods  # noqa: F401  (registers the methods)
from dmlp_jax.data import augment, datasets
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.models import registry
from dmlp_jax.pipeline import purify_settings
from dmlp_jax.purifier.config import check_config
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain.methods import registry as retrain_methods  # noqa: F401  (registers the methods)


class Checked(NamedTuple):
    """The checked settings of a run.

    Attributes:
        stages: names of the stages to run, in order.
        config: a copy of the configuration in which the method's recipe completes the `retrain` settings.
    """

    stages: list[str]
    config: ConfigDict


def check(config: ConfigDict) -> Checked:
    """Checks every section of a configuration.

    Raises:
        UserError: an unknown name, a value out of range, or a stage that the data set does not support.
        InputError: invalid settings of the purifier.
    """
    names = _check_stages(config.stages)
    data = datasets.describe(config.data.name)
    needs_encoder = bool(set(names) & {"pretrain", "extract"})
    if needs_encoder and not data.has_images:
        raise UserError(
            f"data.name {config.data.name!r} holds features, which need no encoder; use "
            "--config.stages=purify,retrain,report"
        )
    check_config(purify_settings.make(config.purify))
    method.check_name(config.retrain.method)
    images = data.has_images and config.retrain.init != "frozen"
    if not images and config.retrain.augment is None:
        # The views of a recipe are of images.
        config = config.copy_and_resolve_references()
        config.retrain.augment = "none"
    config = apply_recipe(config)
    label_variants.parse(config.retrain.labels)
    if "retrain" in names:
        method.check_needs(config.retrain.method, images=images, with_val=config.retrain.with_val)
    augment.make(config.pretrain.augment)
    if needs_encoder:
        pretrain.make(config.pretrain)
    for section in ("pretrain", "retrain"):
        _check_training(section, config[section])
    _check_retrain(config.retrain)
    return Checked(names, config)


def resolve(config: ConfigDict, input_shape: tuple[int, ...]) -> ConfigDict:
    """A copy of the configuration in which every 'auto' is resolved for inputs of `input_shape`.

    Raises:
        UserError: a model or augmentation does not take such inputs.
    """
    config = config.copy_and_resolve_references()
    images = len(input_shape) == 3
    if config.retrain.init in ("encoder", "frozen") and not images:
        raise UserError(
            f"retrain.init is {config.retrain.init!r}, but the inputs are features, without encoder; use "
            "scratch"
        )
    if images:
        config.pretrain.model = registry.resolve_model(config.pretrain.model, input_shape)
    seen = input_shape
    if config.retrain.init == "frozen":
        # The network sees the encoder's features; their number does not matter here.
        images, seen, config.retrain.crop_size = False, (1,), 0
        config.retrain.model = config.retrain.model.replace("auto", "linear")
    config.retrain.model = registry.resolve_model(config.retrain.model, seen)
    if config.retrain.augment == "auto":
        small = images and max(seen[:2]) <= 16
        config.retrain.augment = "affine" if small else "crop_flip" if images else "none"
    _resolve_stems(config, input_shape)
    if config.retrain.init == "encoder" and config.retrain.model != config.pretrain.model:
        raise UserError(
            f"retrain.init is 'encoder', but retrain.model is {config.retrain.model} and pretrain.model "
            f"{config.pretrain.model}; add --config.retrain.model={config.pretrain.model}"
        )
    if config.retrain.init == "encoder" and config.retrain.stem != config.pretrain.stem:
        raise UserError(
            f"retrain.init is 'encoder', but retrain.stem is {config.retrain.stem} and pretrain.stem "
            f"{config.pretrain.stem}; add --config.retrain.stem={config.pretrain.stem}"
        )
    if not images and config.retrain.augment != "none":
        raise UserError(
            f"retrain.augment {config.retrain.augment!r} is for images, but the inputs are features; use none"
        )
    return config


def _resolve_stems(config: ConfigDict, input_shape: tuple[int, ...]) -> None:
    """Sets the stem of both networks; a classifier that starts from the encoder has the encoder's."""
    if len(input_shape) == 3:
        side = max(input_shape[:2])
        pretrain, retrain = config.pretrain, config.retrain
        pretrain.stem = registry.resolve_stem(pretrain.stem, pretrain.model, pretrain.crop_size or side)
        if retrain.init == "encoder" and retrain.stem == "auto":
            retrain.stem = pretrain.stem
        retrain.stem = registry.resolve_stem(retrain.stem, retrain.model, retrain.crop_size or side)


def _check_stages(text: str) -> list[str]:
    """The stages that a comma-separated list names, in the order in which they run."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        if name not in STAGES:
            raise UserError(
                f"stages holds {name!r}, which is none of {', '.join(STAGES)}{nearest(name, list(STAGES))}"
            )
    return [name for name in STAGES if name in names]


def _check_training(section: str, settings: ConfigDict) -> None:
    """Checks what the sections `pretrain` and `retrain` have in common: sizes and the network."""
    for key in ("epochs", "batch_size", "checkpoint_epochs"):
        if settings[key] < 1:
            raise UserError(f"{section}.{key} is {settings[key]}; it must be at least 1")
    # Of the models that 'auto' may stand for, the one with a choice of stems.
    name = "resnet18" if settings.model == "auto" else settings.model
    registry.make_encoder(name, stem=settings.stem, dtype=settings.dtype)


def _check_retrain(settings: ConfigDict) -> None:
    """Checks the `retrain` section: the method builds with its settings, and shares lie in [0, 1)."""
    trial = settings.copy_and_resolve_references()
    trial.augment = "none" if trial.augment == "auto" else trial.augment
    method.make(trial.method, trial, method.Task(2, 1, None))
    if not 0 <= settings.select_share < 1:
        raise UserError(f"retrain.select_share is {settings.select_share}; it must lie in [0, 1)")
    rate = settings.noise_rate
    if rate is not None and not 0 <= rate < 1:
        raise UserError(f"retrain.noise_rate is {rate}; it must lie in [0, 1)")
    if settings.init not in ("scratch", "encoder", "frozen"):
        raise UserError(f"retrain.init is {settings.init!r}; it must be scratch, encoder or frozen")
