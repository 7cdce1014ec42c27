"""Compares ways to make one label of those of several annotators: accuracy of labels, and their ranking.

    python benchmarks/annotators.py data/human_noise

`cifar10n` has the three labels that people gave to each image of CIFAR-10N; the folder holds
cifar10_features.npz and cifar10n_labels.npz, see human_noise_data.py. `digits` has eight simulated
annotators, three a row: weak classifiers of different parts of the image, one of whom guesses half the time.
Labels are left out at random until three, two or one a row remain. Methods:

- majority: the majority vote; ranked by the share of its votes;
- dawid-skene: expectation maximisation of Dawid and Skene (1979), which sees no features;
- crowdlab: `cleanlab.multiannotator`, with the cross-validated probabilities of logistic regression on the
  majority votes. It needs two labels for some row; with one a row cleanlab ranks by these probabilities and
  changes no label;
- purify: with no, 100 and 1,000 clean rows, whose labels by the annotators are known.

The ranking is of wrong majority votes, the worst first. Dawid-Skene and CROWDLAB take no clean rows.
"""

import argparse
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import RESULTS, markdown, mean_and_spread, save
from simulated_annotators import draw, sample, set_aside, weak_logits
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dmlp_jax import purify

NAMES = ("cifar10n", "digits")
# Wrong labels of the simulated annotators, and how often the last one guesses.
WRONG = (0.1, 0.15, 0.2, 0.2, 0.25, 0.3, 0.4, 0.1)
GUESSES = 0.5
CLEAN = {"cifar10n": (0, 100, 1000), "digits": (0, 100)}
BINS = 15


class Crowd(NamedTuple):
    """Training rows, then clean rows; true labels of the former are for reporting only.

    Attributes:
        features: [n, d].
        votes: [n, a], -1 for none.
        true: [n].
        val: features, votes and true labels of the clean rows.
    """

    features: np.ndarray
    votes: np.ndarray
    true: np.ndarray
    val: tuple[np.ndarray, np.ndarray, np.ndarray]


class Answer(NamedTuple):
    """What a method says.

    Attributes:
        labels: [n].
        ranked: the labels that it ranks, [n].
        quality: of these, [n].
        confidence: of `labels`, [n], or None.
    """

    labels: np.ndarray
    ranked: np.ndarray
    quality: np.ndarray
    confidence: np.ndarray | None = None


def main() -> None:
    """Runs all methods and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of CIFAR-10N, see human_noise_data.py")
    parser.add_argument("--rows", type=int, default=10000, help="of CIFAR-10N")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(NAMES))
    parser.add_argument("--name", default="annotators", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    rows = []
    for name in arguments.sets.split(","):
        for kept in (3, 2, 1):
            found: dict[str, list[dict]] = {}
            for seed in range(arguments.seeds):
                pool = load(name, arguments.folder, seed, arguments.rows + max(CLEAN["cifar10n"]))
                for method, answer, true in answers(name, pool, kept, seed, CLEAN[name]):
                    found.setdefault(method, []).append(score(answer, true))
                    print(name, kept, seed, method, found[method][-1], flush=True)
            for method, scores in found.items():
                values = [
                    mean_and_spread([s[key] for s in scores], percent)
                    for key, percent in (("right", True), ("auroc", False), ("ece", False))
                ]
                rows.append([name, str(kept), method, *values])
    header = ["data set", "labels a row", "method", "labels right, %", "AUROC of the ranking", "ECE"]
    text = f"{arguments.seeds} seeds; ECE is the calibration error of the confidence, {BINS} bins.\n\n"
    packages = ("jax", "numpy", "scikit-learn", "cleanlab")
    path = RESULTS / f"{arguments.name}.md"
    save(path, "Labels of several annotators", text + markdown(header, rows), packages)


def load(name: str, folder: Path, seed: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, d], labels of all annotators [n, a] and true labels [n], in random order."""
    rng = np.random.default_rng(seed)
    if name == "digits":
        return _digits(rng)
    stored, labels = (np.load(folder / file) for file in ("cifar10_features.npz", "cifar10n_labels.npz"))
    chosen = rng.permutation(len(stored["train_labels"]))[:most]
    votes = np.stack([labels[f"random_label{i}"] for i in (1, 2, 3)], axis=1)[chosen]
    features = stored["train"][chosen].astype(np.float32)
    return features, votes.astype(np.int32), stored["train_labels"][chosen].astype(np.int32)


def _digits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features, true = load_digits(return_X_y=True)
    lesson, rest = set_aside(true, 10, rng)
    columns = []
    for wrong in WRONG:
        seen = rng.permutation(features.shape[1])[:32]
        logits = weak_logits(features[lesson][:, seen], true[lesson], features[rest][:, seen])
        columns.append(draw(logits, true[rest], wrong, rng))
    guess = sample(np.full((len(rest), 10), 0.1), rng)
    columns[-1] = np.where(rng.random(len(rest)) < GUESSES, guess, columns[-1])
    order = rng.permutation(len(rest))
    votes = np.stack(columns, axis=1)[order]
    return features[rest][order].astype(np.float32), votes.astype(np.int32), true[rest][order]


def answers(name: str, pool: tuple, kept: int, seed: int, clean_sizes: tuple[int, ...]):
    """Yields every method's name, answer, and the true labels of the rows that it labelled."""
    features, votes, true = pool
    turn = np.random.default_rng([seed, kept]).random(votes.shape).argsort(axis=1)
    votes = np.where(turn < kept, votes, -1)
    most = max(clean_sizes)
    rows = slice(most, None)
    given = votes[rows]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    majority = majority_vote(given)
    probs = cross_val_predict(model, features[rows], majority, cv=5, method="predict_proba")
    share = counts(given).max(axis=1) / counts(given).sum(axis=1)
    yield "majority", Answer(majority, majority, share), true[rows]
    posterior = dawid_skene(given)
    own = posterior[np.arange(len(majority)), majority]
    answer = Answer(posterior.argmax(axis=1), majority, own, posterior.max(axis=1))
    yield "dawid-skene", answer, true[rows]
    yield "crowdlab", crowdlab(given, probs, majority), true[rows]
    for clean in clean_sizes:
        known = {}
        if clean:
            known = {"val_given_labels": votes[:clean]}
        result = purify(
            features[rows],
            given,
            (features[:clean], true[:clean]) if clean else None,
            num_classes=10,
            **known,
        )
        labels, quality, confidence, changed = (
            np.asarray(x) for x in (result.labels, result.label_quality, result.confidence, result.changed)
        )
        ranked = purify_majority(given)
        assert np.array_equal(changed, labels != ranked)
        yield f"purify, {clean:,} clean rows", Answer(labels, ranked, quality, confidence), true[rows]


def purify_majority(votes: np.ndarray) -> np.ndarray:
    """The majority vote as `purify` counts it: ties go to the class that is given more often."""
    found = counts(votes)
    return (found + 0.5 * found.sum(axis=0) / found.sum()).argmax(axis=1)


def majority_vote(votes: np.ndarray) -> np.ndarray:
    """The class with the most votes of each row [n, a]; ties are broken at random."""
    found = counts(votes)
    return (found + 0.5 * np.random.default_rng(0).random(found.shape)).argmax(axis=1)


def counts(votes: np.ndarray) -> np.ndarray:
    """Number of votes for each class, [n, c]."""
    return np.stack([(votes == label).sum(axis=1) for label in range(votes.max() + 1)], axis=1).astype(float)


def dawid_skene(votes: np.ndarray, steps: int = 50) -> np.ndarray:
    """Posterior of the true class [n, c] by expectation maximisation, from shares of votes."""
    classes = votes.max() + 1
    one_hot = (votes[:, :, None] == np.arange(classes)).astype(float)
    posterior = counts(votes) + 1e-2
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(steps):
        confusion = np.einsum("ny,nag->ayg", posterior, one_hot) + 1e-2
        confusion /= confusion.sum(axis=2, keepdims=True)
        logits = np.log(posterior.mean(axis=0)) + np.einsum("ayg,nag->ny", np.log(confusion), one_hot)
        posterior = np.exp(logits - logits.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior


def crowdlab(votes: np.ndarray, probs: np.ndarray, majority: np.ndarray) -> Answer:
    """CROWDLAB's consensus, and its quality of the majority vote; with one label a row, cleanlab's."""
    from cleanlab.multiannotator import get_label_quality_multiannotator
    from cleanlab.rank import get_label_quality_scores

    if (votes >= 0).sum(axis=1).max() == 1:
        return Answer(majority, majority, get_label_quality_scores(majority, probs))
    table = pd.DataFrame(np.where(votes < 0, np.nan, votes))
    found = {}
    for method in ("best_quality", "majority_vote"):
        result = get_label_quality_multiannotator(table, probs, consensus_method=method, verbose=False)
        found[method] = result["label_quality"]
    best, of_majority = found["best_quality"], found["majority_vote"]
    return Answer(
        best["consensus_label"].to_numpy(),
        of_majority["consensus_label"].to_numpy(),
        of_majority["consensus_quality_score"].to_numpy(),
        best["consensus_quality_score"].to_numpy(),
    )


def score(answer: Answer, true: np.ndarray) -> dict[str, float]:
    """Accuracy of the labels, AUROC of the ranking and calibration error of the confidence."""
    right = answer.labels == true
    found = {"right": right.mean(), "auroc": roc_auc_score(answer.ranked != true, -answer.quality)}
    error = np.nan
    if answer.confidence is not None:
        parts = np.array_split(np.argsort(answer.confidence), BINS)
        error = sum(abs(right[p].mean() - answer.confidence[p].mean()) * len(p) for p in parts) / len(true)
    return {key: round(float(value), 5) for key, value in (found | {"ece": error}).items()}


if __name__ == "__main__":
    main()
