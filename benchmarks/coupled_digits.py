"""Compares coupled purifiers with the decoupled one on digits, a small version of the paper's Table 6.

    python benchmarks/coupled_digits.py --seeds=3 --workdir=runs/coupled

Every seed draws its own test set, clean images, noise and SimCLR encoder. All methods of a seed share them.
The coupled methods start from the given labels, with a fresh network or with the encoder. The decoupled one
is cross-entropy on labels purified on the encoder's features, with the same two starts. No constant was
chosen on these seeds. Finished networks are kept in the workdir and not trained again.
"""

import argparse
import shutil
from pathlib import Path

import jax
import numpy as np
from common import markdown, mean_and_spread, write
from ml_collections import ConfigDict

from dmlp_jax.config import default_config
from dmlp_jax.pipeline import pipeline
from dmlp_jax.storage import files

METHODS = "mlc,mslc,meta_weight_net,l2r"
STARTS = {"scratch": "fresh", "encoder": "SimCLR"}


def main() -> None:
    """Trains everything and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.8, help="of symmetric noise")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--workdir", type=Path, default=Path("runs/coupled"))
    parser.add_argument("--quick", action="store_true", help="two epochs: to see that it runs, no result")
    parser.add_argument("--name", default="coupled_digits", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "compiled").resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    methods = ["naive", *arguments.methods.split(",")]
    found: dict = {(method, start): [] for start in STARTS for method in methods}
    for seed in range(arguments.seeds):
        for start in STARTS:
            root = prepared(seed, start, arguments)
            for method in methods:
                found[method, start].append(trained(method, start, seed, root, arguments))
    title = (
        f"Coupled and decoupled purifiers on digits, {arguments.seeds} seeds, mean ± standard deviation, %"
    )
    write(arguments.name, title, table(found, arguments))


def settings(seed: int, arguments: argparse.Namespace) -> ConfigDict:
    """The demo's, with this seed and noise."""
    config = default_config()
    config.seed, config.noise.rate, config.log_seconds = seed, arguments.rate, 1e9
    if arguments.quick:
        config.pretrain.epochs, config.retrain.epochs = 2, 2
    return config


def prepared(seed: int, start: str, arguments: argparse.Namespace) -> Path:
    """A workdir with encoder and purified labels; both starts of a seed have the same ones."""
    name = f"sym{round(100 * arguments.rate)}-{seed}"
    base, root = arguments.workdir / f"{name}-base", arguments.workdir / f"{name}-{start}"
    if not root.exists():
        config = settings(seed, arguments)
        config.stages = "pretrain,extract,purify"
        pipeline.run(config, base)
        # Under another name first: a copy that was cut short is not taken for a whole one.
        half = arguments.workdir / f".{root.name}"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(base, half)
        half.rename(root)
    return root


def trained(method: str, start: str, seed: int, root: Path, arguments: argparse.Namespace) -> dict:
    """What a network reached, and how good the labels are that came with it; shares in [0, 1]."""
    labels = "purified" if method == "naive" else "given"
    config = settings(seed, arguments)
    config.stages = "retrain,report"
    config.retrain.update(method=method, labels=labels, init=start)
    summary = pipeline.run(config, root)
    result = files.load_json(root / "retrain" / f"{method}-{labels}" / "result.json")
    curve = [epoch.get("label_accuracy", summary["labels"]["purified"]) for epoch in result["curve"]]
    return {
        "given": summary["labels"]["given"],
        "labels": curve[-1],
        "labels, best epoch": max(curve),
        **{key: result[key] for key in ("last", "best", "selected")},
        "clean": summary["rows"]["val"],
    }


def table(found: dict, arguments: argparse.Namespace) -> str:
    """Every method and start."""
    rows = []
    for (method, start), results in found.items():
        name = "decoupled: purify, then naive" if method == "naive" else f"coupled: {method}"
        keys = ("labels", "labels, best epoch", "last", "best", "selected")
        cells = [mean_and_spread([result[key] for result in results]) for key in keys]
        rows.append([name, STARTS[start], *cells])
    first = found["naive", "scratch"]
    wrong = mean_and_spread(list(1 - np.array([result["given"] for result in first])))
    header = [
        "method", "network's start", "label accuracy", "its best epoch", "test, last epoch",
        "test, best epoch", "test, epoch picked on clean images",
    ]  # fmt: skip
    return (
        f"Symmetric noise at rate {arguments.rate}: {wrong} % of the given labels wrong, {first[0]['clean']} "
        "clean images. The purifier always works on the encoder's features and on all clean images; networks "
        "and what corrects their labels on those that are not kept to pick the epoch.\n\n"
        + markdown(header, rows)
    )


if __name__ == "__main__":
    main()
