"""Measures labels accepted at a stated risk: how many are wrong, how many are accepted, what it costs.

    python benchmarks/accept.py data/human_noise [--seeds=20] [--cases=news,border,sym50] [--clean=200,1000]

The folder has the files of human_noise_data.py, and cifar10_noisy_labels.npz for the drawn noise (tasks.py
has its arrays). Sets are thinned out to 5,000 rows. Those by people, and border, have clean rows stratified
by class; those of drawn noise, from one of three stored splits, have clean rows drawn from all. Runs are kept
in runs.jsonl in --work and not repeated. True labels make the reviewed rows and score the rest, after all
choices. The best threshold is the longest list by descending confidence whose wrong labels, by the true ones,
are at most alpha.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
from common import code_commit, markdown, write
from human_noise import stored
from human_noise_data import HumanNoise, labelled, split_off
from human_noise_sets import Labelled

from dmlp_jax import accept, purify
from dmlp_jax.storage import files

CASES, DRAWN = "news,border,aggregate,three-percent,worst", "sym20,sym50,sym80,sym90,asym40"
RISKS = (0.01, 0.02, 0.05, 0.1)
ROWS, SPLITS = 5_000, 3
# Seeds that are also run without calibration rows, for what setting them aside costs.
COST_SEEDS = 5
KEY = ("case", "clean", "seed", "share")
HEADER = [
    "data set", "clean rows", "set aside", "alpha, %", "wrong among accepted, %", "its standard error, %",
    "accepted, %", "by the best threshold, %", "ratio", "seeds with none accepted",
]  # fmt: skip
COST_HEADER = ["data set", "clean rows", "set aside", "labels right, %", "with none set aside, %", "seeds"]


def main() -> None:
    """Runs what is not in runs.jsonl yet and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="with the files that the data sets need")
    parser.add_argument("--cases", default=f"{CASES},{DRAWN}", help="names of data sets, comma-separated")
    parser.add_argument("--clean", default="200,1000", help="numbers of clean rows; drawn noise: the last")
    parser.add_argument("--share", type=float, default=0.5, help="of the clean rows, to set aside")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--work", type=Path, default=Path("runs/accept"), help="folder for runs.jsonl")
    parser.add_argument("--name", default="accept", help="of the result file")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / "runs.jsonl"
    found = {tuple(run[name] for name in KEY): run for run in stored(path)}
    sizes, runs, commit = list(map(int, arguments.clean.split(","))), [], code_commit()
    for case in arguments.cases.split(","):
        for clean in sizes[-1:] if case in DRAWN.split(",") else sizes:
            for seed in range(arguments.seeds):
                data = None
                for share in (arguments.share, *((0,) if seed < COST_SEEDS else ())):
                    key = (case, clean, seed, share)
                    if key not in found:
                        data = data or load_case(case, clean, seed, arguments.folder)
                        found[key] = run(data, seed, share)
                        found[key] |= dict(zip(KEY, key, strict=True)) | {"commit": commit}
                        with path.open("a") as file:
                            file.write(json.dumps(found[key]) + "\n")
                        print(found[key], flush=True)
                    runs.append(found[key])
    commits = sorted({run["commit"] for run in runs})
    note = "" if commits == [commit] else "\n\nRuns are of commits " + ", ".join(commits) + "."
    write(arguments.name, "Labels accepted at a stated risk", tables(runs) + note)


def load_case(case: str, clean: int, seed: int, folder: Path | None) -> HumanNoise:
    """`ROWS` rows of a data set by people or of the stored drawn noise `case`, `clean` of them reviewed."""
    if case not in DRAWN.split(","):
        rows = labelled(case, seed, folder)
        if len(rows.true) > ROWS:
            some = np.random.default_rng((seed, 2)).permutation(len(rows.true))[:ROWS]
            rows = Labelled(*(values[some] for values in rows))
        return split_off(rows, clean, seed)
    if folder is None:
        raise ValueError(
            f"{case!r} is read from a folder; see the head of benchmarks/accept.py for its files"
        )
    split = seed % SPLITS
    noisy = files.load_npz(folder / "cifar10_noisy_labels.npz", (f"train_index_{split}", f"{case}_{split}"))
    stored_rows = files.load_npz(folder / "cifar10_features.npz", ("train", "train_labels"))
    chosen = np.random.default_rng(seed).permutation(len(noisy[f"{case}_{split}"]))[:ROWS]
    rows, given = noisy[f"train_index_{split}"][chosen], noisy[f"{case}_{split}"][chosen]
    features, true = stored_rows["train"][rows].astype(np.float32), stored_rows["train_labels"][rows]
    rest, val = slice(clean, None), slice(clean)
    return HumanNoise(
        features[rest], given[rest], true[rest], features[val], true[val], given[val], int(true.max()) + 1
    )


def run(data: HumanNoise, seed: int, share: float) -> dict[str, float]:
    """Purifies with a share of the clean rows set aside, accepts at each of `RISKS`, and scores."""
    result = purify(
        data.features,
        data.given,
        (data.val_features, data.val_true),
        num_classes=data.num_classes,
        val_given_labels=data.val_given,
        calibration=share or None,
        key=jax.random.key(seed),
    )
    result = jax.tree.map(np.asarray, result)
    right = result.labels == data.true
    found = {"right": float(right.mean())}
    if share:
        found["aside"] = len(result.calibration.right)
        for risk in RISKS:
            rows = np.asarray(accept(result, risk).rows)
            found[f"accepted {risk}"] = float(rows.mean())
            # No accepted label is no wrong one.
            found[f"wrong {risk}"] = float(np.mean(~right[rows])) if rows.any() else 0.0
            found[f"best {risk}"] = best_share(result.confidence, right, risk)
    return found


def best_share(confidence: np.ndarray, right: np.ndarray, risk: float) -> float:
    """Share of the rows above the lowest threshold at which at most `risk` of them are wrong."""
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    # Rows of equal confidence are accepted together.
    last = np.append(confidence[order][1:] != confidence[order][:-1], True)
    fitting = np.flatnonzero(last & (wrong <= risk))
    return (fitting[-1] + 1) / len(order) if fitting.size else 0.0


def tables(runs: list[dict]) -> str:
    """The tables: one line for each data set, number of clean rows and risk; and what setting aside costs."""
    groups = defaultdict(list)
    for found in runs:
        groups[found["case"], found["clean"]].append(found)
    lines, costs = [], []
    for (case, clean), members in groups.items():
        aside = [found for found in members if found["share"]]
        name = [case, f"{clean:,}", f"{np.mean([found['aside'] for found in aside]):,.0f}"]
        lines += [[*name, *cells(aside, risk)] for risk in RISKS]
        whole = {found["seed"]: found["right"] for found in members if not found["share"]}
        both = [(found["right"], whole[found["seed"]]) for found in aside if found["seed"] in whole]
        if both:
            costs.append([*name, *(f"{100 * value:.1f}" for value in np.mean(both, axis=0)), str(len(both))])
    seeds = len({found["seed"] for found in runs})
    text = (
        f"Means over {seeds} seeds. 'Accepted' and 'best threshold' are shares of all training rows; the "
        "ratio is that of their means. A seed without an accepted row counts as 0 % wrong."
    )
    return f"{text}\n\n{markdown(HEADER, lines)}\n\n{markdown(COST_HEADER, costs)}"


def cells(runs: list[dict], risk: float) -> list[str]:
    """The cells of one risk."""
    wrong, accepted, best = (
        np.array([found[f"{name} {risk}"] for found in runs]) for name in ("wrong", "accepted", "best")
    )
    error = f"{100 * wrong.std(ddof=1) / len(wrong) ** 0.5:.2f}" if len(wrong) > 1 else "-"
    ratio = f"{accepted.mean() / best.mean():.2f}" if best.mean() > 0 else "-"
    shares = [f"{100 * wrong.mean():.2f}", error]
    shares += [f"{100 * values.mean():.1f}" for values in (accepted, best)]
    return [f"{100 * risk:g}", *shares, ratio, f"{int(np.sum(accepted == 0))}"]


if __name__ == "__main__":
    main()
