"""Measures how much purified labels improve the test accuracy of every retraining method.

    python benchmarks/retrain_boost.py --rates=0.5,0.8 --seeds=3 --workdir=runs/boost
    python benchmarks/retrain_boost.py --features=data/cifar10_features.npz --sources=given,purified

Without --features the data are images of digits, and every seed draws its own test set, clean images, noise,
encoder and networks. With --features they are the rows of an npz with train, train_labels, test and
test_labels, and the networks are multi-layer perceptrons. Finished networks are kept in the workdir and not
trained again.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from common import markdown, mean_and_spread, write
from ml_collections import ConfigDict
from tasks import corrupt, stratified

from dmlp_jax.config import default_config
from dmlp_jax.pipeline import pipeline
from dmlp_jax.storage import files

METHODS = (
    "naive", "gce", "bootstrap", "elr", "elr_plus", "co_teaching", "co_teaching_plus", "cdr", "dividemix",
)  # fmt: skip
SOURCES = "given,purified,true"


def main() -> None:
    """Trains everything and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", default="0.5,0.8", help="symmetric noise rates, comma-separated")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--sources", default=SOURCES, help="labels; given and purified are needed")
    parser.add_argument("--features", type=Path, help="npz; digits without it")
    parser.add_argument("--rows", type=int, default=3000, help="training rows of the features")
    parser.add_argument("--val", type=int, default=1000, help="clean rows of the features")
    parser.add_argument("--workdir", type=Path, default=Path("runs/boost"))
    parser.add_argument("--name", default="retrain_boost", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "compiled").resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    parts = []
    for rate in map(float, arguments.rates.split(",")):
        parts.append(table(rate, {m: run(rate, m, arguments) for m in arguments.methods.split(",")}))
    title = f"Retraining on given and on purified labels, {arguments.seeds} seeds, test accuracy in %"
    write(arguments.name, title, "\n\n".join(parts))


def run(rate: float, method: str, arguments: argparse.Namespace) -> list[dict]:
    """The summaries of all seeds."""
    found = []
    for seed in range(arguments.seeds):
        root = arguments.workdir / f"sym{round(100 * rate)}-{seed}"
        config = features(rate, seed, root, arguments) if arguments.features else default_config()
        config.seed, config.log_seconds = seed, 1e9
        config.noise.rate = rate
        config.retrain.update(method=method, labels=arguments.sources)
        found.append(pipeline.run(config, root))
    return found


def features(rate: float, seed: int, root: Path, arguments: argparse.Namespace) -> ConfigDict:
    """The settings of a task on stored features, which is made if it is not there."""
    path = root / "task.npz"
    if not path.exists():
        stored = files.load_npz(arguments.features, ("train", "train_labels", "test", "test_labels"))
        rng = np.random.default_rng(seed)
        true = stored["train_labels"].astype(np.int32)
        train, val = stratified(true, arguments.val, rng)
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


def table(rate: float, found: dict[str, list[dict]]) -> str:
    """One noise rate as a table."""
    rows = []
    for method, results in found.items():
        last, best = (
            {
                s: np.array([r["test"].get(s, {}).get(key, np.nan) for r in results])
                for s in SOURCES.split(",")
            }
            for key in ("last", "best")
        )
        gain = last["purified"] - last["given"]
        above = f"{np.sum(gain >= 0)} of {len(gain)}"
        cells = [mean_and_spread(values) for values in last.values()]
        rows.append(
            [method, cells[0], cells[1], mean_and_spread(gain), above, cells[2]]
            + [mean_and_spread(best[source]) for source in ("given", "purified")]
        )
    first = next(iter(found.values()))
    wrong = {
        source: mean_and_spread([1 - result["labels"][source] for result in first])
        for source in ("given", "purified")
    }
    estimates = {
        source: mean_and_spread([result["noise_rate"][source] for result in first])
        for source in ("given", "purified")
    }
    header = [
        "method", "given labels", "purified labels", "gain", "not below", "true labels", "given, best epoch",
        "purified, best epoch",
    ]  # fmt: skip
    size = first[0]["rows"]
    return (
        f"Symmetric noise at rate {rate}: {size['train']:,} rows, {size['val']:,} clean ones; wrong of the "
        f"given labels {wrong['given']} % (estimate {estimates['given']}), of the purified "
        f"{wrong['purified']} % (estimate, for the first method, {estimates['purified']}). Last epoch "
        "unless said otherwise.\n\n" + markdown(header, rows)
    )


if __name__ == "__main__":
    main()
