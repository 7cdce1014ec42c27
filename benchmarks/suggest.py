"""Measures `suggest`: label accuracy by the number of reviewed rows, by what chose the rows.

    python benchmarks/suggest.py FOLDER [--cases=news,aggregate,digits-20] [--seeds=5]
        [--figure=docs/suggest_curve.svg]

FOLDER and the data sets are those of human_noise_data.py; at most `ROWS` rows of each are used. Every method
reviews 40 rows, then purifies with the reviewed rows as clean ones, then reviews more, and so on. All share
the purifier; they differ in the rows that are reviewed:

- suggestion: `suggest`, its first set stratified by given labels;
- suggestion without random rows: the same with `random_share=0`;
- suspects: the same first set, then the lowest `label_quality`;
- chance: rows at random;
- ActiveLab: the lowest scores of `cleanlab.multiannotator.get_active_learning_scores` with one annotator,
  whose labels are those of the reviewer where there are some, and with the cross-validated probabilities of a
  logistic regression on these labels, both anew in every round, the first one included.

The purifier needs a clean row of every class. Where the first rows of a method lack one, a row of it takes
the place of one of the most frequent class. A run is a line of runs.jsonl in --work and is not repeated. The
extra `benchmarks` includes cleanlab. True labels are used for the reviewed rows and for scoring.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import human_noise_probes as probes
import numpy as np
import suggest_tables
from common import RESULTS, code_commit, save
from human_noise import stored
from human_noise_data import HumanNoise, labelled
from human_noise_sets import Labelled
from suggest_tables import BUDGETS

ROWS = 5_000
KEY = ("case", "seed", "method")


class Round(NamedTuple):
    """What is known when rows are chosen.

    Attributes:
        data: all rows; true labels are looked up for reviewed rows only.
        seed: of draws.
        reviewed: positions of the reviewed rows.
        rest: those of the others.
        result: of `purify` on the others, as NumPy arrays; None before the first review.
        count: number of rows to choose.
    """

    data: Labelled
    seed: int
    reviewed: np.ndarray
    rest: np.ndarray
    result: object
    count: int


def by_suggestion(state: Round, **settings: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows [k] that `suggest` chooses, and which of them it drew at random."""
    import jax

    from dmlp_jax import suggest

    key = jax.random.fold_in(jax.random.key(state.seed), len(state.reviewed))
    if state.result is None:
        found = suggest(None, state.count, labels=state.data.given, key=key)
    else:
        found = suggest(state.result, state.count, key=key, **settings)
    return state.rest[np.asarray(found.rows)], np.asarray(found.random)


def by_suspicion(state: Round) -> tuple[np.ndarray, np.ndarray]:
    """Rows [k] of the least likely given labels."""
    if state.result is None:
        return by_suggestion(state)
    order = np.argsort(state.result.label_quality, kind="stable")
    return state.rest[order[: state.count]], np.zeros(state.count, bool)


def by_chance(state: Round) -> tuple[np.ndarray, np.ndarray]:
    """Rows [k] drawn at random."""
    rng = np.random.default_rng((state.seed, 6, len(state.reviewed)))
    return rng.choice(state.rest, state.count, replace=False), np.ones(state.count, bool)


def by_active_lab(state: Round) -> tuple[np.ndarray, np.ndarray]:
    """Rows [k] of the lowest ActiveLab scores."""
    from cleanlab.multiannotator import get_active_learning_scores

    data, labels = state.data, state.data.given.copy()
    labels[state.reviewed] = data.true[state.reviewed]
    nothing = data.features[:0], labels[:0], labels[:0]
    classes = int(labels.max()) + 1
    probs = probes.cross_validated(HumanNoise(data.features, labels, labels, *nothing, classes), state.seed)
    scores = get_active_learning_scores(labels[:, None], probs)[0][state.rest]
    return state.rest[np.argsort(scores, kind="stable")[: state.count]], np.zeros(state.count, bool)


METHODS: dict[str, Callable[[Round], tuple[np.ndarray, np.ndarray]]] = {
    "suggestion": by_suggestion,
    "chance": by_chance,
    "ActiveLab": by_active_lab,
    "suspects": by_suspicion,
    "suggestion without random rows": lambda state: by_suggestion(state, random_share=0),
}


def main() -> None:
    """Runs what is not in runs.jsonl yet; writes the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="with the files of labels by people")
    parser.add_argument("--cases", default="news,aggregate,digits-20", help="names of data sets")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--rows", type=int, default=ROWS, help="most rows of a data set")
    parser.add_argument("--figure", type=Path, help="an svg file for the curve")
    parser.add_argument("--work", type=Path, default=Path("runs/suggest"), help="folder for runs.jsonl")
    parser.add_argument("--out", type=Path, default=RESULTS / "suggest.md", help="the result file")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    runs = run_all(
        arguments.cases.split(","),
        range(arguments.seeds),
        arguments.methods.split(","),
        arguments.rows,
        arguments.folder,
        arguments.work / "runs.jsonl",
    )
    commits = sorted({run["commit"] for run in runs})
    note = "\n\nRuns are of commits " + ", ".join(commits) + "." if commits != [code_commit()] else ""
    title = "What to review: label accuracy by the number of reviewed rows"
    save(
        arguments.out,
        title,
        suggest_tables.text(runs) + note,
        ("jax", "numpy", "scikit-learn", "cleanlab"),
    )
    if arguments.figure:
        suggest_tables.draw(runs, arguments.figure)


def run_all(
    cases: list[str], seeds: range, methods: list[str], rows: int, folder: Path | None, path: Path
) -> list[dict]:
    """Every run of these cases, seeds and methods: read from the file `path`, or made and added."""
    found, commit = {tuple(run[name] for name in KEY): run for run in stored(path)}, code_commit()
    wanted = [(case, seed, method) for seed in seeds for case in cases for method in methods]
    for key in wanted:
        if key not in found:
            case, seed, method = key
            scores = measure(some_rows(labelled(case, seed, folder), rows, seed), seed, METHODS[method])
            found[key] = dict(zip(KEY, key, strict=True)) | scores | {"commit": commit}
            with path.open("a") as file:
                file.write(json.dumps(found[key]) + "\n")
            print(found[key], flush=True)
    return [found[key] for key in wanted]


def some_rows(data: Labelled, count: int, seed: int) -> Labelled:
    """At most `count` rows at random, as the purifier takes them."""
    rows = np.random.default_rng((seed, 9)).permutation(len(data.true))[:count]
    return Labelled(
        data.features[rows].astype(np.float32), *(labels[rows].astype(np.int32) for labels in data[1:])
    )


def measure(data: Labelled, seed: int, choose: Callable[[Round], tuple[np.ndarray, np.ndarray]]) -> dict:
    """Reviews and purifies in turn; lists with an entry for every number of reviewed rows."""
    everything = np.arange(len(data.true))
    reviewed, random = everything[:0], np.zeros(0, bool)
    result, accuracy, claimed, unreviewed = None, [], [], []
    for budget in BUDGETS:
        rest = np.setdiff1d(everything, reviewed)
        rows, drawn = choose(Round(data, seed, reviewed, rest, result, budget - len(reviewed)))
        rows = with_every_class(data.true, rows) if result is None else rows
        reviewed, random = np.concatenate([reviewed, rows]), np.concatenate([random, drawn])
        rest = np.setdiff1d(everything, reviewed)
        result = purified(data, reviewed, random, rest)
        right = result.labels == data.true[rest]
        accuracy.append((right.sum() + len(reviewed)) / len(everything))
        unreviewed.append(right.mean())
        claimed.append(result.scores["purified"]["accuracy"])
    return {
        "rows": len(everything),
        "given": float(np.mean(data.given == data.true)),
        "accuracy": list(map(float, accuracy)),
        "unreviewed": list(map(float, unreviewed)),
        "claimed": [None if np.isnan(value) else float(value) for value in claimed],
    }


def with_every_class(true: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows in which every class has one: one of an absent class replaces one of the most frequent class."""
    rows = rows.copy()
    for label in np.setdiff1d(true, true[rows]):
        most = np.bincount(true[rows]).argmax()
        rows[np.flatnonzero(true[rows] == most)[-1]] = np.flatnonzero(true == label)[0]
    return rows


def purified(data: Labelled, reviewed: np.ndarray, random: np.ndarray, rest: np.ndarray):
    """The result of `purify`, as NumPy arrays."""
    import jax

    from dmlp_jax import purify
    from dmlp_jax.purifier import padding

    # All numbers of reviewed rows are filled up to the same, so that one program is compiled for a data set.
    padding.LEAST_STEP = max(BUDGETS)
    found = purify(
        data.features[rest],
        data.given[rest],
        (data.features[reviewed], data.true[reviewed]),
        num_classes=int(max(data.given.max(), data.true.max())) + 1,
        val_given_labels=data.given[reviewed],
        val_random=random,
    )
    return jax.tree.map(np.asarray, found)


if __name__ == "__main__":
    main()
