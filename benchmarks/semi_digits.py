"""Compares DMLP with the semi-supervised methods of the paper's Table 9, on digits.

    python benchmarks/semi_digits.py --clean=30,100 --seeds=3 --workdir=runs/semi

Only the clean images are labelled. As in configs/cifar10_semi.py DMLP gets uniformly random labels for all
other images; the other methods use these images without labels; the first row of the table is trained on the
clean images only. Every seed draws its own test set and clean images, the same for all methods, and all
networks are the demo's small one. All clean images are trained on, so none are left for choosing the epoch:
the last one counts. Finished networks are kept in the workdir and not trained again.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from common import markdown, mean_and_spread, write
from ml_collections import ConfigDict

from dmlp_jax.config import apply_recipe, default_config
from dmlp_jax.data import datasets, splits
from dmlp_jax.pipeline import check_settings, pipeline
from dmlp_jax.retrain.run import retrain
from dmlp_jax.training.metrics import MetricsLog
from dmlp_jax.training.session import Session

PEERS = ("mean_teacher", "mixmatch", "fixmatch", "uda")
# Steps of the network trained on clean images alone; its peers take 480 to 820.
STEPS = 500


def main() -> None:
    """Trains everything and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clean", default="30,100", help="numbers of clean images, comma-separated")
    parser.add_argument("--workdir", type=Path, default=Path("runs/semi"))
    parser.add_argument("--name", default="semi_digits", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "compiled").resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    sizes = [int(size) for size in arguments.clean.split(",")]
    found = {
        size: [task(size, seed, arguments.workdir / f"{size}-{seed}") for seed in range(arguments.seeds)]
        for size in sizes
    }
    write(
        arguments.name,
        f"Digits with few labels, {arguments.seeds} seeds, test accuracy in %",
        table(found),
    )


def task(size: int, seed: int, root: Path) -> dict[str, dict]:
    """One split: accuracies of each method on the 'test' set, of the 'labels', and numbers of 'rows'."""
    config = settings(size, seed)
    config.retrain.labels = "val_only_probe,purified"
    naive = pipeline.run(config, root)
    config.retrain.update(method="dividemix", labels="purified")
    divided = pipeline.run(config, root)
    results = {
        "clean images alone": supervised(config, root),
        "naive, labels of a linear probe": naive["test"]["val_only_probe"],
        "DMLP-Naive": naive["test"]["purified"],
        "DMLP-DivideMix": divided["test"]["purified"],
    }
    for peer in PEERS:
        config.retrain.method = peer
        results[peer] = pipeline.run(config, root)["test"]["clean"]
    return {"test": results, "labels": naive["labels"], "rows": naive["rows"]}


def settings(size: int, seed: int) -> ConfigDict:
    """The demo with so many clean images, which are all trained on, and labels that say nothing."""
    config = default_config()
    config.seed, config.log_seconds = seed, 1e9
    config.noise.rate, config.val.size = 1.0, size
    config.retrain.select_share = 0.0
    return config


def supervised(config: ConfigDict, root: Path) -> dict[str, float]:
    """The demo's network trained on the clean images of the workdir alone."""
    config = config.copy_and_resolve_references()
    config.retrain.method = "naive"
    dataset = datasets.load(config.data, config.seed)
    problem = splits.make_problem(dataset, splits.load_split(root / "split.npz"))
    config = check_settings.resolve(apply_recipe(config), problem.val_inputs.shape[1:])
    size = len(problem.val_labels)
    batch = min(size, 32)
    epochs = -(-STEPS // (size // batch))
    config.retrain.update(batch_size=batch, epochs=epochs, checkpoint_epochs=epochs, with_val=False)
    alone = problem._replace(
        train_inputs=problem.val_inputs, given_labels=problem.val_labels, true_labels=problem.val_labels
    )
    log = MetricsLog(root / "alone" / "metrics.jsonl")
    session = Session(jax.local_devices()[:1], log, 1e9)
    found = retrain(
        alone, {"true": problem.val_labels}, {"true": 0.0}, config.retrain, session,
        folder=root / "alone", key=jax.random.key(config.seed), seed=config.seed, encoder=None,
    )  # fmt: skip
    log.close()
    return found["true"]


def table(found: dict[int, list[dict]]) -> str:
    """A row for each method, two columns for each number of clean images, and what the labels were."""
    names = next(iter(found.values()))[0]["test"]
    rows = []
    for name in names:
        cells = [
            mean_and_spread([result["test"][name][key] for result in results])
            for results in found.values()
            for key in ("last", "best")
        ]
        rows.append([name, *cells])
    header = ["method"]
    for size in found:
        header += [f"{size} clean images, last epoch", f"{size}, best epoch"]
    text = markdown(header, rows)
    for size, results in found.items():
        shares = {
            name: mean_and_spread([np.float64(result["labels"][name]) for result in results])
            for name in ("given", "val_only_probe", "purified")
        }
        text += (
            f"\n\n{size} clean images, {results[0]['rows']['train']:,} others: of the labels drawn at random "
            f"{shares['given']} % are right, of the linear probe's {shares['val_only_probe']} %, of the "
            f"purified {shares['purified']} %."
        )
    return text


if __name__ == "__main__":
    main()
