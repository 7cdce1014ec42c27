"""Accuracy of purified labels on stored features, beside the trivial baselines and the paper's preset.

    python benchmarks/purify_accuracy.py --features=F.npz --labels=L.npz

F.npz holds train [n, d] and train_labels [n]; L.npz holds, for every split s, train_index_s, val_index_s and
the noisy labels <noise>_s of the training rows. True labels are read after everything has been chosen.
"""

import argparse

import jax
import numpy as np
from common import markdown, mean_and_spread, write

from dmlp_jax import PurifyConfig, purify

PROBES = ("val_only_probe", "noisy_probe", "noisy_plus_val_probe")


def main() -> None:
    """Runs every noise on every split and writes benchmarks/results/purify_accuracy.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--noises", default="sym20,sym50,sym80,sym90,asym40")
    parser.add_argument("--splits", default="0,1,2")
    parser.add_argument("--paper", action="store_true", help="also run PurifyConfig.paper()")
    arguments = parser.parse_args()
    with np.load(arguments.features) as stored:
        features, true = stored["train"], stored["train_labels"]
    labels = np.load(arguments.labels)

    columns = ("given", *PROBES, *(["paper preset"] if arguments.paper else []), "purified")
    rows = []
    for noise in arguments.noises.split(","):
        found = [
            measure(features, true, labels, noise, split, arguments.paper)
            for split in arguments.splits.split(",")
        ]
        cells = [mean_and_spread([result[name] for result in found]) for name in columns]
        error = mean_and_spread([result["ece"] for result in found], percent=False)
        wins = sum(result["purified"] >= max(result[name] for name in ("given", *PROBES)) for result in found)
        rows.append([noise, *cells, error, f"{wins} of {len(found)}"])
        print(" | ".join(rows[-1]), flush=True)
    header = [
        "noise",
        *(name.replace("_", " ") for name in columns),
        "ECE",
        "runs at or above every baseline",
    ]
    title = f"Label accuracy, mean ± standard deviation over splits {arguments.splits}, %"
    write("purify_accuracy", title, markdown(header, rows))


def measure(
    features: np.ndarray, true: np.ndarray, labels: np.lib.npyio.NpzFile, noise: str, split: str, paper: bool
) -> dict[str, float]:
    """Label accuracies of one noise on one split."""
    train, val = labels[f"train_index_{split}"], labels[f"val_index_{split}"]
    given, truth = labels[f"{noise}_{split}"], true[train]
    rows = (features[train], given, (features[val], true[val]))
    result = jax.tree.map(np.asarray, purify(*rows))
    found = {"given": np.mean(given == truth), "purified": np.mean(result.labels == truth)}
    found |= {name: np.mean(result.baselines[name] == truth) for name in PROBES}
    found["ece"] = calibration_error(result.confidence, result.labels == truth)
    if paper:
        literal = purify(*rows, config=PurifyConfig.paper())
        found["paper preset"] = np.mean(np.asarray(literal.labels) == truth)
    return {name: float(value) for name, value in found.items()}


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass."""
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return sum(len(g) * abs(confidence[g].mean() - right[g].mean()) for g in groups) / len(right)


if __name__ == "__main__":
    main()
