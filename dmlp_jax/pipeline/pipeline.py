"""Runs the configured stages of a run in order, after checking their settings."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.config import recipes_needed
from dmlp_jax.data import datasets
from dmlp_jax.pipeline import check_settings, label_sources, stages
from dmlp_jax.pipeline.run import Run
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.runtime import cache_folder, compile_cache, hosts
from dmlp_jax.storage import files
from dmlp_jax.training.boards import Board, TensorBoard, WandB
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.progress import format_seconds
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
    names, config = check_settings.check(config)
    workdir = Workdir(root)
    with compile_cache.kept_in(cache_folder.of_setting(config.compile_cache)), contextlib.ExitStack() as held:
        hosts.only_main(lambda: held.enter_context(workdir.lock()))
        try:
            result = _run(config, workdir, names, workdir.watched(stop))
        except Stopped:
            # All processes wait here and end together: sending the last files to an address may take a while.
            hosts.only_main(held.close)
            raise
        hosts.only_main(held.close)
    return result


def _boards(config: ConfigDict, workdir: Workdir) -> list[Board]:
    """What shows the metrics while the run goes on."""
    found: list[Board] = []
    if config.tensorboard:
        found.append(TensorBoard(workdir.root / "tensorboard"))
    if config.wandb:
        found.append(WandB(config.wandb, workdir.root, config.to_dict()))
    return found


def _run(
    config: ConfigDict, workdir: Workdir, names: list[str], stop: Callable[[], bool]
) -> dict[str, Any] | None:
    start = time.perf_counter()
    dataset = datasets.load(config.data, config.seed, workdir.broken)
    config = check_settings.resolve(config, dataset.inputs.shape[1:])
    workdir.refuse_foreign(config)
    workdir.claim()
    main = hosts.is_main()
    log = MetricsLog(workdir.metrics if main else None, _boards(config, workdir) if main else ())
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
