"""Makes the tasks of retrain_boost.py and label_forms.py, and trains networks beside the pipeline's.

A task is a workdir with noisy labels of one rate and seed, features and purified labels. The data are images
of digits, for which every seed draws its own test set, clean images, noise and encoder, or rows of an npz
with train, train_labels, test and test_labels.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tasks import corrupt, stratified

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets
from dmlp_jax.data.images import lazy
from dmlp_jax.data.types import Problem
from dmlp_jax.pipeline import check_settings, pipeline, stages
from dmlp_jax.pipeline.run import Run
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.purifier import predict
from dmlp_jax.purifier.result import LinearClassifier
from dmlp_jax.report import contents
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain import run as retraining
from dmlp_jax.storage import files
from dmlp_jax.training.metrics import MetricsLog


class TimedLog(MetricsLog):
    """Also logs the processor seconds that the process has used, all threads together.

    Unlike the time of day they hardly depend on what else the machine does.
    """

    def write(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """As that of MetricsLog, with 'processor_seconds'."""
        super().write(stage, step, {**values, "processor_seconds": time.process_time()})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that the functions below read."""
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", default="0.5,0.8", help="symmetric noise rates, comma-separated")
    parser.add_argument("--epochs", type=int, default=30, help="of every network, whatever its recipe says")
    parser.add_argument("--features", type=Path, help="npz; digits without it")
    parser.add_argument("--rows", type=int, default=2000, help="training rows of the features")
    parser.add_argument(
        "--val", type=int, help="clean rows; by default 200 of features, the demo's of digits"
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/boost"))


def seeds(arguments: argparse.Namespace) -> str:
    """The number of seeds, for a title."""
    return "1 seed" if arguments.seeds == 1 else f"{arguments.seeds} seeds"


def keep_programs(arguments: argparse.Namespace) -> None:
    """Keeps compiled programs in the workdir: the tasks of all seeds and rates share them."""
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "compiled").resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def settings(name: str, rate: float, seed: int, root: Path, arguments: argparse.Namespace) -> ConfigDict:
    """The settings of the method `name` on a task; a task on features is made if it is not there."""
    config = default_config()
    if arguments.features:
        config = features(rate, seed, root, arguments)
    elif arguments.val:
        config.val.size = arguments.val
    config.seed, config.log_seconds = seed, 1e9
    config.noise.rate = rate
    config.retrain.update(method=name, epochs=arguments.epochs)
    return config


def features(rate: float, seed: int, root: Path, arguments: argparse.Namespace) -> ConfigDict:
    """The settings of a task on stored features."""
    path = root / "task.npz"
    if not path.exists():
        stored = files.load_npz(arguments.features, ("train", "train_labels", "test", "test_labels"))
        rng = np.random.default_rng(seed)
        true = stored["train_labels"].astype(np.int32)
        train, val = stratified(true, arguments.val or 200, rng)
        train = train[: arguments.rows]
        labels = corrupt(stored["train"][train], true[train], f"sym{round(100 * rate)}", rng)
        root.mkdir(parents=True, exist_ok=True)
        arrays = {
            "features": stored["train"][train], "labels": labels, "true_labels": true[train],
            "val_features": stored["train"][val], "val_labels": true[val],
            "test_features": stored["test"], "test_labels": stored["test_labels"],
        }  # fmt: skip
        files.save_npz(path, arrays)
    config = default_config()
    config.data.update(name="npz", path=str(path))
    config.noise.name = "none"
    config.stages = "purify,retrain,report"
    return config


def folder(rate: float, seed: int, arguments: argparse.Namespace) -> Path:
    """The workdir of a task."""
    return arguments.workdir / f"sym{round(100 * rate)}-{seed}"


def trained(config: ConfigDict, root: Path, sources: str) -> dict[str, dict[str, Any]]:
    """Runs the method on the task's sources of labels, comma-separated; result.json of each."""
    config.retrain.labels = sources
    pipeline.MetricsLog = TimedLog
    if (root / "summary.json").exists():
        config.stages = "retrain"
    pipeline.run(config, root)
    # A process that compiles dozens of methods would hold all their programs.
    jax.clear_caches()
    return {
        source: files.load_json(root / "retrain" / f"{config.retrain.method}-{source}" / "result.json")
        for source in sources.split(",")
    }


def opened(config: ConfigDict, root: Path) -> Run:
    """The run behind a finished task, for networks that the pipeline does not train; close its log."""
    _, config = check_settings.check(config)
    dataset = datasets.load(config.data, config.seed, root)
    config = check_settings.resolve(config, dataset.inputs.shape[1:])
    log = TimedLog(root / "beside" / "metrics.jsonl")
    return Run(config, Workdir(root), dataset, log, lambda: False)


def rows_of(run: Run) -> Problem:
    """The rows as the networks see them."""
    return run.problem if run.problem.train_inputs.ndim > 2 else stages.standardized(run.problem)


def beside(
    run: Run, problem: Problem, labels: dict[str, np.ndarray], rates: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Trains networks on labels of one's own, with the pipeline's start and order of rows.

    Args:
        run: from `opened`.
        problem: from `rows_of`, or other rows.
        labels: by name, class indices [n] or distributions [n, c].
        rates: by name, the estimated share of wrong labels.

    Returns:
        By name, as `retrain.run.retrain`.
    """
    found = retraining.retrain(
        problem, labels, rates, run.config.retrain, run.session, folder=run.workdir.root / "beside",
        key=run.retrain_key, seed=run.config.seed, encoder=None,
    )  # fmt: skip
    jax.clear_caches()
    return found


def clean_alone(run: Run) -> dict[str, Any]:
    """A network trained on the clean rows that the others have too, repeated to as many rows."""
    problem, rng = rows_of(run), np.random.default_rng([run.config.seed, 3])
    kept, _ = label_variants.split_clean(problem.val_labels, run.config.retrain.select_share, rng)
    rows = np.resize(kept, len(problem.given_labels))
    labels = problem.val_labels[rows]
    inputs = lazy.take(problem.val_inputs, rows)
    alone = problem._replace(train_inputs=inputs, given_labels=labels, true_labels=labels)
    return beside(run, alone, {"clean": labels}, {"clean": 0.0})["clean"]


def classifier_accuracy(run: Run) -> float:
    """Test accuracy of the purifier's own linear classifier, without any network."""
    problem = run.feature_problem()
    fields = [f"classifier/{name}" for name in LinearClassifier._fields]
    stored = contents.load(run.workdir.purifier, fields)
    probs = predict(LinearClassifier(*(stored[field] for field in fields)), problem.test_inputs)
    return float(np.mean(np.argmax(probs, axis=1) == problem.test_labels))


def usable(names: list[str], arguments: argparse.Namespace) -> list[str]:
    """Those of the methods that the data allow."""
    return [name for name in names if not (arguments.features and method.needs(name).images)]
