"""Compares methods on labels with mistakes as people make them: labels, ranking, calibration and claims.

    python benchmarks/human_noise.py FOLDER --own [--cases=news,digits-20] [--clean=40,200,1000] [--seeds=3]
    python benchmarks/human_noise.py FOLDER --cases=news --curve --figure=docs/human_noise.svg

FOLDER has the files of labels by people, see human_noise_data.py; --own adds the sets that need no file. A
run is one method on one data set with one clean set. It becomes a line of runs.jsonl in --work and is not
repeated: a benchmark that was ended goes on there, and other --methods or --cases add to it. Delete the
lines of a method whose code has changed. --curve gives label accuracy by the number of reviewed rows. The
extra `benchmarks` includes cleanlab. True labels are used for the reviewed rows and for scoring, which
comes after all choices.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import RESULTS, code_commit, save
from human_noise_data import FROM_FOLDER, OWN, HumanNoise, load
from human_noise_methods import METHODS, Method, Outcome, Problem
from human_noise_tables import curve, draw_curve, table
from purify_accuracy import calibration_error
from sklearn.metrics import average_precision_score, roc_auc_score

from dmlp_jax.storage import files

CLEAN, CURVE = "40,200,1000", "10,20,40,100,200,400,1000"
CURVE_METHODS = "given_picked,purify,purify_known,purify_picked"
KEY = ("case", "clean", "seed", "method")


def main() -> None:
    """Runs what is not in runs.jsonl yet and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="with the files of labels by people")
    parser.add_argument("--own", action="store_true", help="also the data sets that need no file")
    parser.add_argument("--cases", help="names of data sets, comma-separated; all by default")
    parser.add_argument("--clean", help=f"numbers of clean rows; {CLEAN}, for --curve {CURVE}")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--rows", type=int, help="draw so many training rows of each data set")
    parser.add_argument("--methods", help="comma-separated, of " + ", ".join(METHODS))
    parser.add_argument("--curve", action="store_true", help="label accuracy by the number of reviewed rows")
    parser.add_argument("--figure", type=Path, help="an svg file for the curve")
    parser.add_argument("--work", type=Path, default=Path("runs/human_noise"), help="folder for runs.jsonl")
    parser.add_argument("--out", type=Path, help="the result file")
    arguments = parser.parse_args()
    cases = [*(FROM_FOLDER if arguments.folder else ()), *(OWN if arguments.own else ())]
    cases = arguments.cases.split(",") if arguments.cases else cases
    if not cases:
        parser.error("give a FOLDER, --own or --cases")
    sizes = list(map(int, (arguments.clean or (CURVE if arguments.curve else CLEAN)).split(",")))
    methods = (arguments.methods or (CURVE_METHODS if arguments.curve else ",".join(METHODS))).split(",")
    arguments.work.mkdir(parents=True, exist_ok=True)
    problems = [(case, clean, seed) for case in cases for seed in range(arguments.seeds) for clean in sizes]
    path = arguments.work / ("runs.jsonl" if arguments.rows is None else f"runs_{arguments.rows}.jsonl")
    runs = run_all(problems, methods, arguments.folder, arguments.rows, path)
    out = arguments.out or RESULTS / ("human_noise_curve.md" if arguments.curve else "human_noise.md")
    commits = sorted({run["commit"] for run in runs})
    note = "\n\nRuns are of commits " + ", ".join(commits) + "." if commits != [code_commit()] else ""
    packages = ("jax", "numpy", "scikit-learn", "cleanlab")
    if arguments.curve:
        text = curve(runs)
        title = "Label accuracy by the number of reviewed rows, mistakes as people make them"
        if arguments.figure:
            draw_curve(runs, arguments.figure)
    else:
        text, title = table(runs), "Mistakes as people make them: labels, ranking, calibration and claims"
    save(out, title, f"{text}{note}", packages)


def run_all(
    problems: list[tuple[str, int, int]],
    methods: list[str],
    folder: Path | None,
    rows: int | None,
    path: Path,
) -> list[dict]:
    """Every method on every problem: read from the file `path`, or made and added.

    Args:
        problems: case, number of clean rows, seed.
        methods: their names.
        folder: with the files of labels by people.
        rows: most training rows; None for all.
        path: of runs with this `rows`.
    """
    found, commit = {tuple(run[name] for name in KEY): run for run in stored(path)}, code_commit()
    wanted = []
    for case, clean, seed in problems:
        keys = [(case, clean, seed, method) for method in methods]
        wanted += keys
        problem = None
        for key in keys:
            if key not in found:
                problem = problem or Problem(load(case, clean, seed, folder, rows), seed)
                scores = measure(problem, METHODS[key[-1]]) | {"commit": commit}
                found[key] = dict(zip(KEY, key, strict=True)) | scores
                with path.open("a") as file:
                    file.write(json.dumps(found[key]) + "\n")
                print(found[key], flush=True)
    return [found[key] for key in wanted]


def stored(path: Path) -> list[dict]:
    """The runs in a file; a last line that a kill cut off is removed from it."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        files.save_text(path, whole)
    return [json.loads(line) for line in whole.splitlines()]


def measure(problem: Problem, method: Method) -> dict[str, float | None]:
    """Runs a method and scores it; None where it has no such number."""
    begin = time.perf_counter()
    reviewed = method.review(problem)
    outcome = method.run(reviewed)
    seconds = time.perf_counter() - begin
    scores = {
        name: None if np.isnan(value) else value for name, value in score(reviewed.data, outcome).items()
    }
    return scores | {"seconds": round(seconds, 2)}


def score(data: HumanNoise, outcome: Outcome) -> dict[str, float]:
    """What human_noise_tables.py shows, shares in [0, 1]; NaN where the method has no such number."""
    right, wrong = outcome.labels == data.true, data.given != data.true
    reviewed = len(data.val_true)
    ranks = outcome.label_quality is not None and 0 < wrong.sum() < len(wrong)
    trusts = outcome.confidence is not None
    return {
        "rows": len(right),
        "reviewed": reviewed,
        "accuracy": float(right.mean()),
        "accuracy_all": float((right.sum() + reviewed) / (len(right) + reviewed)),
        "changed": float(np.mean(outcome.labels != data.given)),
        "auroc": float(roc_auc_score(wrong, -outcome.label_quality)) if ranks else np.nan,
        "average_precision": float(average_precision_score(wrong, -outcome.label_quality))
        if ranks
        else np.nan,
        "confidence": float(outcome.confidence.mean(dtype=np.float64)) if trusts else np.nan,
        "calibration_error": calibration_error(outcome.confidence, right) if trusts else np.nan,
        "claimed": outcome.claimed,
        "claimed_error": outcome.claimed_error,
    }


if __name__ == "__main__":
    main()
