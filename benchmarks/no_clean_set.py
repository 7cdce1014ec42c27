"""Measures label accuracy of `LabelPurifier` without clean rows, beside cleanlab and a clean set.

    python benchmarks/no_clean_set.py --features=data/cifar10_features.npz --rows=10000

`drawn` uses a fifth of the rows as clean, those whose labels are likely right (`likely_clean`); `at random`
uses any fifth; `cleanlab` replaces the labels that confident learning flags by the prediction of a
cross-validated logistic regression, whose penalty is chosen by its accuracy on given labels. It needs the
extra `benchmarks`; --no-cleanlab leaves it out.
"""

import argparse
import warnings

import jax
import numpy as np
import tasks
from accuracy_peers import NOISY_FOLDS, fit, inputs_of
from common import markdown, mean_and_spread, write
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from tasks import Task

from dmlp_jax import LabelPurifier, purify
from dmlp_jax.purifier import likely_clean

PENALTIES = (0.3, 0.03)
SHARE = 0.2
COLUMNS = {
    "given": "given labels",
    "cleanlab": "cleanlab",
    "random": "a fifth at random for clean",
    "drawn": "a fifth drawn for clean",
    "clean": "with clean rows",
}


def main() -> None:
    """Measures every noise and split; writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser, "sym0,sym5,sym20,sym50,sym80,asym40")
    parser.add_argument("--clean", type=int, default=1000, help="clean rows of the last column")
    parser.add_argument("--no-cleanlab", action="store_true", help="leave cleanlab out")
    parser.add_argument("--name", default="no_clean_set", help="of the result")
    arguments = parser.parse_args()
    rows = []
    for noise in arguments.noises.split(","):
        found = tasks.of_noise(noise, arguments.clean, arguments)
        runs = [measure(task, not arguments.no_cleanlab) for task in found]
        print(noise, runs, flush=True)
        rows.append(line(noise, runs))
    columns = [title for name, title in COLUMNS.items() if name in runs[0]]
    header = ["noise", *columns, "estimated share right", "drawn rows right"]
    text = (
        f"Label accuracy in %, mean ± standard deviation over {len(runs)} splits of {runs[0]['rows']:,} "
        f"training rows. All columns but 'with clean rows' ({arguments.clean:,} of them) know the given "
        "labels only. The last two: the share of given labels that is right by the estimate of "
        "likely_clean.py, and how many of the rows that it took for clean are.\n\n"
    )
    write(arguments.name, f"Without clean rows, {arguments.features.stem}", text + markdown(header, rows))


def measure(task: Task, cleanlab: bool) -> dict[str, float]:
    """Shares in [0, 1] of right labels by method, what `likely_clean` finds, and the number of 'rows'."""
    features, labels, true = np.float32(task.features), task.labels, task.true_labels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        purifier = LabelPurifier(random_state=0, val_size=SHARE).fit(features, labels)
    held_out = purifier.val_index_
    found = {
        "given": labels,
        **({"cleanlab": confident_learning(task)} if cleanlab else {}),
        "random": with_held_out(features, labels, np.ones(len(labels))),
        "drawn": purifier.labels_,
        "clean": np.asarray(purify(features, labels, (task.val_features, task.val_labels)).labels),
    }
    shares = {name: float(np.mean(values == true)) for name, values in found.items()}
    guess = likely_clean.estimate(features, labels, int(labels.max()) + 1)
    return shares | {
        "estimate": float(guess.correct.mean()),
        "held_out": float(np.mean(labels[held_out] == true[held_out])),
        "rows": len(labels),
    }


def with_held_out(features: np.ndarray, labels: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Labels [n] after rows drawn with probability `correct` [n] served as the clean set."""
    held_out = likely_clean.draw(correct, labels, SHARE, jax.random.key(0))
    rest = np.setdiff1d(np.arange(len(labels)), held_out)
    result = purify(features[rest], labels[rest], (features[held_out], labels[held_out]))
    purified = labels.copy()
    purified[rest] = result.labels
    return purified


def confident_learning(task: Task) -> np.ndarray:
    """Given labels [n], the flagged ones replaced by the cross-validated prediction."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ImportError("this benchmark needs cleanlab: pip install 'cleanlab>=2.9'") from error
    rows, labels = inputs_of(task).noisy
    folds = list(StratifiedKFold(NOISY_FOLDS, shuffle=True, random_state=0).split(rows, labels))
    candidates = []
    for penalty in PENALTIES:
        probs = np.empty((len(rows), labels.max() + 1), np.float64)
        for train, fold in folds:
            weight = np.ones(len(train), np.float32)
            probs[fold] = fit(rows[train], labels[train], weight, penalty).predict_proba(rows[fold])
        candidates.append((log_loss(labels, probs), probs))
    probs = min(candidates, key=lambda candidate: candidate[0])[1]
    return np.where(find_label_issues(labels, probs, n_jobs=1), probs.argmax(axis=1), labels)


def line(noise: str, runs: list[dict[str, float]]) -> list[str]:
    """A row of the table."""
    return [noise, *(mean_and_spread([run[name] for run in runs]) for name in runs[0] if name != "rows")]


if __name__ == "__main__":
    main()
