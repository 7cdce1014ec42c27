"""Implements the five stages; each reads its inputs from the workdir and writes its results there."""

from functools import partial
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.contrastive import features, probe
from dmlp_jax.contrastive.pretrain import load_encoder
from dmlp_jax.contrastive.pretrain import pretrain as pretrain_encoder
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.models import registry
from dmlp_jax.pipeline import corrected_labels, label_sources, purify_settings, summary
from dmlp_jax.pipeline.run import Run
from dmlp_jax.purifier import purify
from dmlp_jax.report import contents, page
from dmlp_jax.report.clean_rows import CleanRows
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.retrain import run as retraining
from dmlp_jax.runtime import hosts
from dmlp_jax.runtime.timing import stopwatch
from dmlp_jax.storage import files

# Most entries of the history of hard labels that is kept for the report.
LABEL_HISTORY = 200_000_000


def pretrain(run: Run) -> None:
    """Trains the encoder on images and writes its checkpoints."""
    config, workdir = run.config, run.workdir
    if workdir.is_complete("pretrain", config):
        return _skip("pretrain")
    images = run.pretraining_images()
    _say("pretrain", f"{config.pretrain.method} on {len(images):,} images, {config.pretrain.model}")
    workdir.begin("pretrain", config)
    with stopwatch() as seconds:
        pretrain_encoder(
            images,
            config.pretrain,
            run.session,
            folder=workdir.pretrain,
            key=run.pretrain_key,
        )
    workdir.finish("pretrain", config, seconds=seconds)


def extract(run: Run) -> None:
    """Writes features.npz, and logs probes of the frozen encoder where the true labels are known."""
    config, workdir, problem = run.config, run.workdir, run.problem
    if workdir.is_complete("extract", config):
        return _skip("extract")
    if not workdir.is_complete("pretrain", config):
        raise UserError(f"{workdir.pretrain} holds no finished encoder; run the stage pretrain first")
    workdir.begin("extract", config)
    with stopwatch() as seconds:
        encoder = registry.make_encoder(
            config.pretrain.model, stem=config.pretrain.stem, dtype=config.pretrain.dtype
        )
        variables = load_encoder(
            problem.train_inputs, config.pretrain, workdir.pretrain, run.session.one_disk
        )
        parts = {"train": problem.train_inputs, "val": problem.val_inputs}
        if problem.test_inputs is not None:
            parts["test"] = problem.test_inputs
        arrays = {
            name: features.extract(
                encoder,
                variables,
                inputs,
                config.extract.batch_size,
                run.session.devices,
                config.pretrain.crop_size,
            )
            for name, inputs in parts.items()
        }
        probes = _probe(problem, arrays, config.extract)
        hosts.only_main(lambda: files.save_npz(workdir.features, arrays))
    width = arrays["train"].shape[1]
    known = "".join(f", {name} probe {value:.1%}" for name, value in probes.items() if value is not None)
    _say("extract", f"{sum(map(len, arrays.values())):,} rows of {width} features{known}")
    if probes["linear"] is not None:
        run.session.log.write("extract", 0, probes)
    workdir.finish("extract", config, [workdir.features], seconds=seconds, probe=probes)


def _probe(problem: Problem, arrays: dict[str, np.ndarray], settings: ConfigDict) -> dict[str, float | None]:
    """Test accuracy of a linear and a kNN probe trained on true labels; None where they are unknown."""
    if problem.true_labels is None or problem.test_labels is None:
        return {"linear": None, "knn": None}
    data = (
        np.concatenate([arrays["train"], arrays["val"]]),
        np.concatenate([problem.true_labels, problem.val_labels]),
        arrays["test"],
        problem.test_labels,
    )
    classes = len(problem.class_names)
    return {
        "linear": probe.linear_probe(*data, num_classes=classes, iterations=settings.probe_iterations),
        "knn": probe.knn_probe(*data, num_classes=classes, neighbors=settings.knn),
    }


def purify_stage(run: Run) -> None:
    """Purifies the given labels on the features and writes purified.npz, purifier.npz and issues.csv."""
    config, workdir = run.config, run.workdir
    if workdir.is_complete("purify", config):
        return _skip("purify")
    problem = run.feature_problem()
    train_features: Any = problem.train_inputs
    val_features: Any = problem.val_inputs
    settings = purify_settings.make(config.purify)
    if problem.true_labels is not None and config.purify.keep_label_history is None:
        entries = settings.steps * len(problem.given_labels)
        settings = purify_settings.make(config.purify, keep_label_history=entries <= LABEL_HISTORY)
    _say(
        "purify",
        f"{len(problem.given_labels):,} rows with {len(problem.val_labels):,} clean ones, preset "
        f"{run.config.purify.preset}, {settings.steps} steps",
    )
    workdir.begin("purify", config)
    with stopwatch() as seconds:
        result = purify(
            train_features,
            problem.given_labels,
            (val_features, problem.val_labels),
            num_classes=len(problem.class_names),
            val_given_labels=_val_given_labels(problem, config),
            val_random=problem.val_random,
            config=settings,
            key=run.purify_key,
        )
        result = jax.tree.map(np.asarray, result)
    index, names = run.split["train_index"], _row_names(run)
    hosts.only_main(lambda: summary.save_purified(workdir, result, problem, index, names))
    summary.log_history(run.session.log, result, problem.true_labels)
    _say("purify", f"changed {np.mean(result.changed):.1%} of the labels")
    workdir.finish("purify", config, [workdir.purified, workdir.purifier], seconds=seconds)


def _val_given_labels(problem: Problem, config: ConfigDict) -> np.ndarray | None:
    """The given labels of the clean rows [m] that the purifier gets; see `val.given_labels`."""
    wanted = config.val.given_labels
    if wanted is None:
        # The paper's schedule does not use them, and its protocol does not have them.
        wanted = config.purify.preset != "paper"
    return problem.val_given_labels if wanted else None


def retrain(run: Run) -> None:
    """Trains a network on the labels of every source and measures its test accuracy.

    Methods that are trained on the labels of the clean rows only train one network, without purified labels.
    """
    config, workdir = run.config, run.workdir
    settings = config.retrain
    stage = f"retrain/{settings.method}"
    complete = workdir.is_complete(stage, config)
    all_labels = method.needs(settings.method).labels
    if all_labels and not workdir.is_complete("purify", config):
        raise UserError(f"{workdir.purified} is missing or not finished; run the stage purify first")
    problem = run.problem
    labels: dict[str, np.ndarray] = {}
    rates: dict[str, float | None] = {}
    if not all_labels:
        labels[label_variants.CLEAN] = label_variants.unlabelled(
            len(problem.given_labels), len(problem.class_names)
        )
        rates[label_variants.CLEAN] = 0.0
    sources = label_variants.parse(settings.labels) if all_labels else []
    trained_on = corrected_labels.check_networks(config, sources, workdir)
    for source in sources:
        values = label_sources.labels_of(source, workdir, problem, soft=settings.soft_labels)
        if values is None:
            _say("retrain", f"no network on {source} labels: they are unknown")
        else:
            labels[source] = values
            rates[source] = settings.noise_rate
            if settings.noise_rate is None:
                rates[source] = label_sources.noise_rate_of(source, workdir, problem, config)
    places = [workdir.retrain / f"{settings.method}-{source}" for source in labels]
    if complete and hosts.agree(lambda: all(retraining.finished(place) for place in places)):
        return _skip("retrain")
    encoder = None
    if settings.init == "encoder":
        encoder = load_encoder(problem.train_inputs, config.pretrain, workdir.pretrain, run.session.one_disk)
    if settings.init == "frozen":
        problem = run.feature_problem()
    if problem.train_inputs.ndim == 2:
        problem = standardized(problem)
    if all_labels:
        named = ", ".join(f"{name} ({_share(rates[name])} wrong)" for name in labels)
        _say("retrain", f"{settings.method} with {settings.model}, sources of labels (estimates): {named}")
    else:
        _say("retrain", f"{settings.method} with {settings.model} on the labels of the clean rows only")
    workdir.begin(stage, config, trained_on=trained_on)
    with stopwatch() as seconds:
        retraining.retrain(
            problem,
            labels,
            rates,
            settings,
            run.session,
            folder=workdir.retrain,
            key=run.retrain_key,
            seed=config.seed,
            encoder=encoder,
            probe=_linear_probe(problem, config) if settings.linear_probe else None,
        )
    made = [
        path
        for name in ("result.json", "corrected.npz")
        for path in workdir.retrain.glob(f"{settings.method}-*/{name}")
    ]
    workdir.finish(stage, config, made, seconds=seconds, trained_on=trained_on)


def _linear_probe(problem: Problem, config: ConfigDict) -> retraining.Probe:
    return partial(
        probe.linear_probe,
        num_classes=len(problem.class_names),
        iterations=config.extract.probe_iterations,
    )


def standardized(problem: Problem) -> Problem:
    """Features standardised by the mean and deviation of the training rows, for networks."""
    features = np.asarray(problem.train_inputs)
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64) + 1e-6

    def standard(rows):
        return None if rows is None else ((rows - mean) / scale).astype(np.float32)

    return problem._replace(
        train_inputs=standard(features),
        val_inputs=standard(problem.val_inputs),
        test_inputs=standard(problem.test_inputs),
    )


def report(run: Run) -> None:
    """Writes summary.json and report.html, and prints a table."""
    with stopwatch() as seconds:
        result, curves = summary.summarize(run.config, run.workdir, run.problem)
        hosts.only_main(lambda: _write_page(run, result, curves))
    result["seconds"]["report"] = seconds
    hosts.only_main(lambda: files.save_json(run.workdir.summary, result))
    run.workdir.share()
    print("\n" + summary.table(result), flush=True)
    there = f"{run.workdir.name}/{run.workdir.report.name}, here " if run.workdir.on_each_host else ""
    print(f"\nreport: {there}{run.workdir.report.resolve()}", flush=True)


def _write_page(run: Run, result: dict[str, Any], curves: dict[str, list[float]]) -> None:
    workdir, problem = run.workdir, run.problem
    # Without the extracted features there is neither a map nor a search for similar rows.
    drawn = run.config.report.map != "none"
    features = run.feature_problem() if drawn else None
    pictures = problem.val_inputs.__getitem__ if len(problem.val_inputs.shape) == 4 else None
    page.write(
        workdir.report,
        result,
        run.config,
        problem,
        contents.load(workdir.purified),
        contents.load(workdir.purifier),
        curves,
        features=None if features is None else features.train_inputs,
        clean=None if features is None else CleanRows(features.val_inputs, image_of=pictures),
        row_names=_row_names(run),
    )


def _row_names(run: Run) -> Any:
    """The image file of each training row; None where the data are not image files."""
    return None if run.dataset.names is None else run.dataset.names[run.split["train_index"]]


def _say(stage: str, text: str) -> None:
    print(f"{stage}  {text}", flush=True)


def _share(value: float | None) -> str:
    return "unknown share" if value is None else f"{value:.1%}"


def _skip(stage: str) -> None:
    _say(stage, "done before")


STAGES = {
    "pretrain": pretrain,
    "extract": extract,
    "purify": purify_stage,
    "retrain": retrain,
    "report": report,
}
