"""Runs cells and resumes unfinished ones; encoders and purified labels are shared between cells."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dmlp_jax.config import apply_recipe
from dmlp_jax.contrastive.probe import linear_probe
from dmlp_jax.data import datasets
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings, pipeline
from dmlp_jax.pipeline.workdir import Workdir
from dmlp_jax.reproduce import cells
from dmlp_jax.reproduce.budgets import Budget
from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.retrain import label_variants, method
from dmlp_jax.storage import files


def run(
    cell: Cell, seed: int, budget: Budget, root: Path, folders: dict[str, str], stop: Callable[[], bool]
) -> dict[str, Any]:
    """Runs one cell with one seed.

    Args:
        cell: the cell.
        seed: seed of the run.
        budget: length of the run.
        root: folder that holds `encoders/` and `runs/`.
        folders: see `cells.config_of`.
        stop: see `pipeline.run`.

    Returns:
        Test accuracy in % after the epoch that is 'best' on the test set and after the 'last' epoch; the
        accuracy 'labels' of the labels trained on, or of the corrected labels for methods that correct labels
        during training (None where the true labels are unknown); and the number of 'epochs'.

    Raises:
        UserError: missing data, or settings that do not match them.
        Stopped: `stop` returned true.
    """
    config = cells.config_of(cell, seed, budget, folders)
    workdir = root / "runs" / cells.run_name(config) / f"seed{seed}"
    epochs = apply_recipe(config).retrain.epochs
    if not method.needs(config.retrain.method).labels:
        config.stages = "retrain"
        pipeline.run(config, workdir, stop)
        return _scores(workdir, f"{config.retrain.method}-{label_variants.CLEAN}") | {
            "labels": None,
            "epochs": epochs,
        }
    share_encoder(config, root / "encoders" / cells.encoder_name(config), workdir, stop)
    if not cell.how.method:
        config.stages = "pretrain,extract"
        pipeline.run(config, workdir, stop)
        accuracy = 100 * _probe(config, workdir)
        return {"best": accuracy, "last": accuracy, "labels": None, "epochs": config.pretrain.epochs}
    if (first := corrector(cell)) is not None:
        pipeline.run(cells.config_of(first, seed, budget, folders), workdir, stop)
    summary = pipeline.run(config, workdir, stop)
    assert summary is not None  # The stage report always runs.
    accuracies = summary["labels"]
    own = f"{label_variants.CORRECTED}{config.retrain.method}"
    accuracy = accuracies[own if cell.how.labels == "given" and own in accuracies else cell.how.labels]
    labels = None if accuracy is None else 100 * accuracy
    scores = _scores(workdir, f"{config.retrain.method}-{cell.how.labels}")
    return scores | {"labels": labels, "epochs": epochs}


def missing_data(
    wanted: Iterable[Cell], budget: Budget, folders: dict[str, str]
) -> list[tuple[str, list[Cell]]]:
    """Checks once that each data set of the cells exists.

    Returns:
        For each missing data set the error, and the cells that need it.
    """
    by_place: dict[tuple[str, str], tuple[ConfigDict, list[Cell]]] = {}
    for cell in wanted:
        data = cells.config_of(cell, 0, budget, folders).data
        by_place.setdefault((data.name, data.dir), (data, []))[1].append(cell)
    found = []
    for data, needing in by_place.values():
        try:
            datasets.check_there(data)
        except UserError as error:
            found.append((str(error), needing))
    return found


def corrector(cell: Cell) -> Cell | None:
    """The cell whose method corrects the labels that `cell` is trained on, to be run first; else None."""
    if not cell.how.labels.startswith(label_variants.CORRECTED):
        return None
    method_name = cell.how.labels.removeprefix(label_variants.CORRECTED)
    return cell._replace(how=cell.how._replace(method=method_name, labels="given"))


def _scores(workdir: Path, arm: str) -> dict[str, float]:
    result = files.load_json(workdir / "retrain" / arm / "result.json")
    return {"best": 100 * result["best"], "last": 100 * result["last"]}


def share_encoder(config: ConfigDict, place: Path, workdir: Path, stop: Callable[[], bool]) -> None:
    """Pretrains at `place` if not done before, and links the result into `workdir`."""
    alone = config.copy_and_resolve_references()
    alone.stages = "pretrain"
    # Pretraining uses neither labels nor clean set, so these settings must be equal in all encoder folders.
    alone.noise.update(name="none", rate=0.0)
    alone.val.update(size=30 if config.data.name == "digits" else 1000, share=1.0)
    pipeline.run(alone, place, stop)
    resolved = check_settings.resolve(
        apply_recipe(config), datasets.load(config.data, config.seed).inputs.shape[1:]
    )
    target = Workdir(workdir)
    with target.lock():
        if target.is_complete("pretrain", resolved):
            return
        shutil.rmtree(target.pretrain, ignore_errors=True)
        # Hard links take no space and are safe, because a finished checkpoint is never written to.
        shutil.copytree(place / "pretrain", target.pretrain, copy_function=_link)
        target.finish("pretrain", resolved, **Workdir(place).details("pretrain"))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _probe(config: ConfigDict, workdir: Path) -> float:
    """Test accuracy of a linear probe of the features, trained on the given labels."""
    dataset = datasets.load(config.data, config.seed)
    assert dataset.test_labels is not None  # Every data set of the tables has test labels.
    features = files.load_npz(workdir / "features.npz", ("train", "test"))
    given = files.load_npz(workdir / "split.npz", ("given_labels",))["given_labels"]
    return linear_probe(
        features["train"],
        given,
        features["test"],
        dataset.test_labels,
        num_classes=len(dataset.class_names),
        iterations=config.extract.probe_iterations,
    )
