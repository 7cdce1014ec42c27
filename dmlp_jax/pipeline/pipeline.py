"""Runs the configured stages of a run in order, after checking their settings."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.config import STAGES, apply_recipe, recipes_needed
from dmlp_jax.contrastive import pretrain
from dmlp_jax.coupled import registry as coupled_methods  # noqa: F401  (registers them)
from dmlp_jax.data import augment, datasets
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.models import registry
from dmlp_jax.pipeline import label_sources, stages
from dmlp_jax.pipeline.run import Run
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.purifier.config import check_config
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain.methods import registry as retrain_methods  # noqa: F401  (methods registers them)
from dmlp_jax.runtime import compile_cache, hosts
from dmlp_jax.storage import files
from dmlp_jax.training.metrics import MetricsLog, format_seconds
from dmlp_jax.training.session import Stopped


def run(
    config: ConfigDict, root: Path | str, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    """Runs the configured stages on the workdir `root`, resuming what an earlier run left.

    Args:
        config: from `config.default_config` or a file in configs/.
        root: the workdir, a folder or an address such as gs://bucket/run.
        stop: called between steps and stages; once it returns true the run saves its state and ends.

    Returns:
        The contents of summary.json if the stage report ran, else None.

    Raises:
        UserError: a mistake that the user can correct, including another run on the same workdir.
        Stopped: `stop` returned true; the same call resumes from there.
    """
    names = check(config)
    workdir = Workdir(root)
    with compile_cache.kept_in(config.compile_cache), contextlib.ExitStack() as held:
        hosts.only_main(lambda: held.enter_context(workdir.lock()))
        try:
            result = _run(apply_recipe(config), workdir, names, workdir.watched(stop))
        except Stopped:
            # All processes wait here and end together: sending the last files to an address may take a while.
            hosts.only_main(held.close)
            raise
        hosts.only_main(held.close)
    return result


def _run(
    config: ConfigDict, workdir: Workdir, names: list[str], stop: Callable[[], bool]
) -> dict[str, Any] | None:
    start = time.perf_counter()
    dataset = datasets.load(config.data, config.seed, workdir.broken)
    config = resolve(config, dataset.inputs.shape[1:])
    workdir.refuse_foreign(config)
    workdir.claim()
    log = MetricsLog(workdir.metrics if hosts.is_main() else None, config.tensorboard)
    try:
        current = Run(config, workdir, dataset, log, stop)
        flipped = label_sources.flip_rate(current.problem)
        known = "unknown" if flipped is None else f"{flipped:.1%}"
        print(
            f"{config.data.name}: {len(current.split['given_labels']):,} rows, "
            f"{len(current.split['val_labels']):,} clean ones; share of wrong labels {known}; "
            f"workdir {workdir.name}",
            flush=True,
        )
        if datasets.describe(config.data.name).brings_labels and config.noise.name != "none":
            print("the data set has its own noisy labels: noise.* is not applied", flush=True)
        if config.recipes_for != (needed := recipes_needed(config)):
            print(
                f"note: the constants of retrain.method are those for {config.recipes_for}; for {needed} "
                "start from a file in configs/ that has such data and noise",
                flush=True,
            )
        hosts.only_main(lambda: files.save_json(workdir.config, config.to_dict()))
        for name in names:
            if stop():
                raise Stopped
            stages.STAGES[name](current)
    finally:
        log.close()
    print(f"done in {format_seconds(time.perf_counter() - start)}", flush=True)
    return files.load_json(workdir.summary) if "report" in names else None


def check(config: ConfigDict) -> list[str]:
    """Checks the settings of a run before any stage begins; returns the stages to run.

    Raises:
        UserError: an unknown name, a value out of range, or a stage that the data set does not support.
        InputError: invalid settings of the purifier.
    """
    names = [name.strip() for name in config.stages.split(",") if name.strip()]
    for name in names or [""]:
        if name not in STAGES:
            raise UserError(
                f"stages holds {name!r}, which is none of {', '.join(STAGES)}{nearest(name, list(STAGES))}"
            )
    names = [name for name in STAGES if name in names]
    data = datasets.describe(config.data.name)
    if not data.has_images and set(names) & {"pretrain", "extract"}:
        raise UserError(
            f"data.name {config.data.name!r} holds features, which need no encoder; use "
            "--config.stages=purify,retrain,report"
        )
    check_config(stages.purify_config(config.purify))
    method.check_name(config.retrain.method)
    config = apply_recipe(config)
    label_variants.parse(config.retrain.labels)
    if "retrain" in names:
        method.check_needs(config.retrain.method, images=data.has_images, with_val=config.retrain.with_val)
    augment.make(config.pretrain.augment)
    if set(names) & {"pretrain", "extract"}:
        pretrain.make(config.pretrain)
    for part, settings in (("pretrain", config.pretrain), ("retrain", config.retrain)):
        for key in ("epochs", "batch_size", "checkpoint_epochs"):
            if settings[key] < 1:
                raise UserError(f"{part}.{key} is {settings[key]}; it must be at least 1")
        name = "small_cnn" if settings.model == "auto" else settings.model
        registry.make_encoder(name, dtype=settings.dtype)
    trial = config.retrain.copy_and_resolve_references()
    trial.augment = "none" if trial.augment == "auto" else trial.augment
    method.make(trial.method, trial, method.Task(2, 1, None))
    if not 0 <= config.retrain.select_share < 1:
        raise UserError(f"retrain.select_share is {config.retrain.select_share}; it must lie in [0, 1)")
    rate = config.retrain.noise_rate
    if rate is not None and not 0 <= rate < 1:
        raise UserError(f"retrain.noise_rate is {rate}; it must lie in [0, 1)")
    if config.retrain.init not in ("scratch", "encoder"):
        raise UserError(f"retrain.init is {config.retrain.init!r}; it must be scratch or encoder")
    return names


def resolve(config: ConfigDict, input_shape: tuple[int, ...]) -> ConfigDict:
    """A copy of the configuration in which every 'auto' is resolved for inputs of `input_shape`.

    Raises:
        UserError: a model or augmentation does not take such inputs.
    """
    config = config.copy_and_resolve_references()
    images = len(input_shape) == 3
    if images:
        config.pretrain.model = registry.resolve_model(config.pretrain.model, input_shape)
    config.retrain.model = registry.resolve_model(config.retrain.model, input_shape)
    if config.retrain.augment == "auto":
        small = images and max(input_shape[:2]) <= 16
        config.retrain.augment = "affine" if small else "crop_flip" if images else "none"
    if config.retrain.init == "encoder" and not images:
        raise UserError(
            "retrain.init is 'encoder', but the inputs are features, without encoder; use scratch"
        )
    if config.retrain.init == "encoder" and config.retrain.model != config.pretrain.model:
        raise UserError(
            f"retrain.init is 'encoder', but retrain.model is {config.retrain.model} and pretrain.model "
            f"{config.pretrain.model}; add --config.retrain.model={config.pretrain.model}"
        )
    if not images and config.retrain.augment != "none":
        raise UserError(
            f"retrain.augment {config.retrain.augment!r} is for images, but the inputs are features; use none"
        )
    return config
