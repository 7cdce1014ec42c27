"""Writes the demo's SimCLR features of scikit-learn's digits to a file for the other benchmarks.

python benchmarks/digits_features.py --workdir=runs/benchmark_digits/features --out=data/digits_features.npz
"""

import argparse
from pathlib import Path

import numpy as np

from dmlp_jax.config import default_config
from dmlp_jax.data import datasets, splits
from dmlp_jax.pipeline import pipeline
from dmlp_jax.storage import files


def main() -> None:
    """Pretrains, extracts and writes train [n, d] and train_labels [n]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/benchmark_digits/features"))
    parser.add_argument("--out", type=Path, default=Path("data/digits_features.npz"))
    arguments = parser.parse_args()
    config = default_config()
    config.stages = "pretrain,extract"
    pipeline.run(config, arguments.workdir)
    features = files.load_npz(arguments.workdir / "features.npz", ("train", "val"))
    split = splits.load_split(arguments.workdir / "split.npz")
    problem = splits.make_problem(datasets.load(config.data, config.seed), split)
    arrays = {
        "train": np.concatenate([features["train"], features["val"]]),
        "train_labels": np.concatenate([problem.true_labels, problem.val_labels]),
    }
    files.save_npz(arguments.out, arrays)


if __name__ == "__main__":
    main()
