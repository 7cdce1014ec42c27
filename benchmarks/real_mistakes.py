"""Measures how many real labelling mistakes `purify`, cleanlab and probes find and correct.

    python benchmarks/real_mistakes.py --features=data/package_features.npz

The file of features also holds given_labels, see package_features.py. `cleanlab` is confident learning with a
cross-validated logistic regression whose penalty is chosen on the clean rows (extra `benchmarks`; left out
with --no-cleanlab); `logistic clean` is a logistic regression trained on the clean rows only. Rankings are by
ascending probability of the given label. True labels are used for scoring only, after all choices.
"""

import argparse

import jax
import numpy as np
import tasks
from accuracy_peers import clean_probs, confident_learning, inputs_of
from common import markdown, mean_and_spread, write
from sklearn.metrics import average_precision_score

from dmlp_jax import purify
from dmlp_jax.purifier.probes import PROBES

FIRST = 1000
COLUMNS = {
    "accuracy": "labels right, %",
    "changed": "labels changed, %",
    "kept_right": "of these right before, %",
    "mended": "mistakes mended, %",
    "mended_habit": "mended of the commonest kind, %",
    "mended_others": "mended of all other kinds, %",
    "precision": "average precision of the ranking, %",
    "first": f"mistakes among its first {FIRST:,}, %",
    "first_others": "mistakes of other kinds there, %",
}


def main() -> None:
    """Runs every split and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser, noises=None)
    parser.set_defaults(clean_set="random")
    parser.add_argument("--clean", type=int, default=1000, help="number of clean rows")
    parser.add_argument("--no-cleanlab", action="store_true", help="leave cleanlab out")
    parser.add_argument("--name", default="real_mistakes", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    runs = []
    for task in tasks.of_noise(tasks.HUMAN, arguments.clean, arguments):
        runs.append(measure(task, not arguments.no_cleanlab))
        print(runs[-1], flush=True)
    rows = []
    for method in runs[0]:
        cells = [mean_and_spread([run[method][column] for run in runs]) for column in COLUMNS]
        wins = sum(run[method]["accuracy"] >= run["given"]["accuracy"] for run in runs)
        rows.append([method.replace("_", " "), *cells, f"{wins} of {len(runs)}"])
    title = f"Real labelling mistakes, {arguments.clean:,} clean rows, {len(runs)} splits"
    write(arguments.name, title, markdown(["labels", *COLUMNS.values(), "runs at or above the given"], rows))


def measure(task: tasks.Task, cleanlab: bool) -> dict[str, dict[str, float]]:
    """What became of the labels of one task by each method."""
    result = jax.tree.map(
        np.asarray, purify(task.features, task.labels, (task.val_features, task.val_labels))
    )
    inputs = inputs_of(task)
    alone = clean_probs(inputs)
    found = {"given": (task.labels, None)} | {name: (result.baselines[name], None) for name in PROBES}
    found["logistic_clean"] = (alone.argmax(axis=1), alone)
    if cleanlab:
        found["cleanlab"] = confident_learning(inputs)
    found["purified"] = (result.labels, result.probs)
    return {name: outcome(task, *pair) for name, pair in found.items()}


def outcome(task: tasks.Task, labels: np.ndarray, probs: np.ndarray | None) -> dict[str, float]:
    """Shares in [0, 1] by `COLUMNS` of new labels [n], and of the ranking by probabilities [n, c] if any."""
    wrong, changed = task.labels != task.true_labels, labels != task.labels
    right = labels == task.true_labels
    # Of all mistakes, the label given most often for the same true one.
    kinds = task.labels.astype(np.int64) * (task.true_labels.max() + 1) + task.true_labels
    habit = wrong & (kinds == np.bincount(kinds[wrong]).argmax())
    shares = {
        "accuracy": share_of(right),
        "changed": share_of(changed),
        "kept_right": share_of(~wrong[changed]),
        "mended": share_of(right[wrong]),
        "mended_habit": share_of(right[habit]),
        "mended_others": share_of(right[wrong & ~habit]),
        "precision": np.nan,
        "first": np.nan,
        "first_others": np.nan,
    }
    if probs is not None:
        trust = np.take_along_axis(probs, task.labels[:, None].astype(np.int64), axis=1)[:, 0]
        first = np.argsort(trust, kind="stable")[:FIRST]
        shares["precision"] = average_precision_score(wrong, -trust)
        shares["first"] = share_of(wrong[first])
        shares["first_others"] = share_of((wrong & ~habit)[first])
    return {name: float(value) for name, value in shares.items()}


def share_of(flags: np.ndarray) -> float:
    """Share of flags [k] that are set; of none, NaN."""
    return flags.mean() if len(flags) else np.nan


if __name__ == "__main__":
    main()
