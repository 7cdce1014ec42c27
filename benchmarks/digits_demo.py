"""Measures label and test accuracy of the digits demo over several seeds, beside the trivial baselines.

    python benchmarks/digits_demo.py --seeds=10 --rates=0.8 --workdir=runs/benchmark

Every seed draws its own test split, clean images, noise, encoder and networks. Finished seeds are kept in
the workdir and not run again. With --labels-only no networks are retrained.
"""

import argparse
from pathlib import Path

import jax
from common import markdown, mean_and_spread, write

from dmlp_jax.config import default_config
from dmlp_jax.pipeline import pipeline

NAMES = ("given", "val_only_probe", "noisy_probe", "noisy_plus_val_probe", "purified", "true")


def main() -> None:
    """Runs the seeds and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rates", default="0.8", help="symmetric noise rates, comma-separated")
    parser.add_argument("--workdir", type=Path, default=Path("runs/benchmark_digits"))
    parser.add_argument("--labels-only", action="store_true")
    parser.add_argument("--quick", action="store_true", help="two epochs: to see that it runs, no result")
    parser.add_argument("--name", default="digits_demo", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    # The seeds' programs are the same: compile once.
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "compiled").resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    parts = []
    for rate in map(float, arguments.rates.split(",")):
        found = [run(rate, seed, arguments) for seed in range(arguments.seeds)]
        parts.append(table(rate, found))
    text = "\n\n".join(parts)
    write(arguments.name, f"Digits, {arguments.seeds} seeds, mean ± standard deviation, %", text)


def run(rate: float, seed: int, arguments: argparse.Namespace) -> dict:
    """The summary of one seed."""
    config = default_config()
    config.seed, config.noise.rate = seed, rate
    config.log_seconds = 1e9
    if arguments.quick:
        config.pretrain.epochs, config.retrain.epochs = 2, 2
    if arguments.labels_only:
        config.stages = "pretrain,extract,purify,report"
    return pipeline.run(config, arguments.workdir / f"sym{round(100 * rate)}-{seed}")


def table(rate: float, found: list[dict]) -> str:
    """One rate as a table."""
    rows = []
    for name in NAMES:
        labels = [1.0 if name == "true" else result["labels"][name] for result in found]
        tests = [result["test"].get(name, {}) for result in found]
        cells = [
            mean_and_spread([test.get(key, float("nan")) for test in tests])
            for key in ("last", "best", "selected")
        ]
        rows.append([name.replace("_", " "), mean_and_spread(labels), *cells])
    flipped = mean_and_spread([result["noise"]["measured_flip_rate"] for result in found])
    clean = found[0]["rows"]["val"]
    header = ["labels", "label accuracy", "network, last epoch", "best epoch", "epoch picked on clean images"]
    return (
        f"Symmetric noise at rate {rate}: {flipped} % of the given labels wrong, {clean} clean images.\n\n"
        + markdown(header, rows)
    )


if __name__ == "__main__":
    main()
