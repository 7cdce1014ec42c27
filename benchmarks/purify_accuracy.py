"""Measures the accuracy of purified labels on stored features, beside the trivial baselines and other tools.

    python benchmarks/purify_accuracy.py --features=data/patch_features.npz --name=purify_patches

--paper adds the paper's preset. --peers=logistic_noisy,knn_vote,cleanlab_argmax adds these methods, which
take a minute per task and need the extra `benchmarks`. True labels are used for scoring only, after all
choices. See tasks.py for the files.
"""

import argparse
import itertools
from collections.abc import Sequence

import accuracy_peers
import jax
import numpy as np
import tasks
from common import markdown, mean_and_spread, write

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier.probes import PROBES

PAPER = "paper preset"
KNOWN = "purified, given labels of clean rows known"


def main() -> None:
    """Runs every noise on every split and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser)
    parser.add_argument("--clean-sizes", default="1000", help="numbers of clean rows, comma-separated")
    parser.add_argument("--paper", action="store_true", help="also run PurifyConfig.paper()")
    parser.add_argument(
        "--val-given-labels", action="store_true", help="also purify with the noisy labels of the clean rows"
    )
    parser.add_argument("--peers", default="", help="also these of accuracy_peers.py, comma-separated")
    parser.add_argument("--name", default="purify_accuracy", help="of the file in benchmarks/results")
    arguments = parser.parse_args()

    others = [PAPER] if arguments.paper else []
    peers = arguments.peers.split(",") if arguments.peers else []
    baselines = ("given", *PROBES, *peers)
    columns = (*baselines, *others, "purified", *([KNOWN] if arguments.val_given_labels else []))
    sizes, rows = list(map(int, arguments.clean_sizes.split(","))), []
    for clean, noise in itertools.product(sizes, arguments.noises.split(",")):
        found = [measure(task, columns, peers) for task in tasks.of_noise(noise, clean, arguments)]
        cells = [mean_and_spread([result[name] for result in found]) for name in columns]
        if arguments.imbalance != 1:
            cells.append(mean_and_spread([result["by_class"] for result in found]))
        error = mean_and_spread([result["ece"] for result in found], percent=False)
        wins = [
            sum(result[name] >= max(result[other] for other in baselines) for result in found)
            for name in columns
            if name in ("purified", KNOWN)
        ]
        rows.append([f"{clean:,}", noise, *cells, error, *(f"{count} of {len(found)}" for count in wins)])
        print(" | ".join(rows[-1]), flush=True)
    names = [name.replace("_", " ") for name in columns]
    if arguments.imbalance != 1:
        names.append("purified, mean of classes")
    header = ["clean rows", "noise", *names, "ECE", "runs at or above every baseline"]
    if arguments.val_given_labels:
        header.append(f"{KNOWN}, runs")
    title = "Label accuracy, mean ± standard deviation over seeds, %"
    write(arguments.name, title, markdown(header, rows))


def measure(task: tasks.Task, columns: Sequence[str], peers: list[str]) -> dict[str, float]:
    """Label accuracies of one task, of these columns and peers."""
    rows = (task.features, task.labels, (task.val_features, task.val_labels))
    result = jax.tree.map(np.asarray, purify(*rows))
    labels = {"given": task.labels, "purified": result.labels}
    labels |= {name: result.baselines[name] for name in PROBES}
    if PAPER in columns:
        labels[PAPER] = np.asarray(purify(*rows, config=PurifyConfig.paper()).labels)
    if KNOWN in columns:
        if task.val_given_labels is None:
            raise ValueError("--val-given-labels does not go with --labels, which has none for clean rows")
        labels[KNOWN] = np.asarray(purify(*rows, val_given_labels=task.val_given_labels).labels)
    if peers:
        labels |= accuracy_peers.labels_of(task, peers)
    found = {name: float(np.mean(values == task.true_labels)) for name, values in labels.items()}
    right = result.labels == task.true_labels
    found["by_class"] = float(
        np.mean([right[task.true_labels == label].mean() for label in set(task.true_labels)])
    )
    return found | {"ece": calibration_error(result.confidence, right)}


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass."""
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return float(sum(len(g) * abs(confidence[g].mean() - right[g].mean()) for g in groups) / len(right))


if __name__ == "__main__":
    main()
