"""Measures how much purified labels improve the test accuracy of every retraining method.

    python benchmarks/retrain_boost.py --rates=0.5,0.8 --seeds=3 --workdir=runs/boost
    python benchmarks/retrain_boost.py --features=data/cifar10_features.npz --workdir=runs/boost_features

Without --features the data are images of digits, with it multi-layer perceptrons learn rows of an npz. All
networks are trained for as many epochs. The first seed is finished for all methods before the second begins.
Finished networks are kept in the workdir and not trained again, so that the same command goes on after an
interrupt.

The cost of an epoch is in processor seconds of all threads, which hardly depend on what else the machine
does. Only networks on purified labels count, since they take programs over that were compiled for the given
labels. The cost contains the evaluation of all test and clean rows after each epoch.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boost_tasks as tasks
import numpy as np
from common import markdown, mean_and_spread, write

from dmlp_jax.storage import files

METHODS = (
    "naive", "gce", "bootstrap", "elr", "cdr", "co_teaching", "co_teaching_plus", "incv", "dividemix",
    "famus", "promix", "ssr", "ssr_plus", "elr_plus", "pencil", "joint_optim", "m_correction", "rrl",
    "moit_plus", "sel_cl_plus", "mslg", "ieg", "mlnt",
)  # fmt: skip
SOURCES = ("given", "purified")


def main() -> None:
    """Trains everything and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument(
        "--once", default="", help="methods that are trained with the first seed only, as they are slow"
    )
    parser.add_argument("--name", default="retrain_boost", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    tasks.keep_programs(arguments)

    methods, once = tasks.usable(arguments.methods.split(","), arguments), arguments.once.split(",")
    rates = [float(rate) for rate in arguments.rates.split(",")]
    found: dict = {rate: {method: [] for method in methods} for rate in rates}
    alone: dict = {rate: [] for rate in rates}
    for seed in range(arguments.seeds):
        for rate in rates:
            for method in methods:
                if seed == 0 or method not in once:
                    found[rate][method].append(trained(method, rate, seed, arguments))
            alone[rate].append(baselines(rate, seed, arguments))
    parts = [table(rate, found[rate], alone[rate], arguments) for rate in rates]
    title = f"What purified labels add to each method, {tasks.seeds(arguments)}, test accuracy in %"
    write(arguments.name, title, "\n\n".join(parts))


def trained(method: str, rate: float, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The results of a method by source of labels; for cross-entropy on true labels, too."""
    root = tasks.folder(rate, seed, arguments)
    sources = (*SOURCES, "true") if method == "naive" else SOURCES
    return tasks.trained(tasks.settings(method, rate, seed, root, arguments), root, ",".join(sources))


def baselines(rate: float, seed: int, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The purifier's linear classifier on test rows, and cross-entropy on the clean rows alone."""
    root = tasks.folder(rate, seed, arguments)
    run = tasks.opened(tasks.settings("naive", rate, seed, root, arguments), root)
    linear = tasks.classifier_accuracy(run)
    results = {
        "the purifier's linear classifier, no network": {"last": linear, "best": np.nan},
        "naive on the clean rows alone": tasks.clean_alone(run),
    }
    run.session.log.close()
    return results


def table(rate: float, found: dict[str, list[dict]], alone: list[dict], arguments: argparse.Namespace) -> str:
    """One noise rate: a row for each method, then what they are compared with."""
    roots = [tasks.folder(rate, seed, arguments) for seed in range(arguments.seeds)]
    rows = []
    for method, results in found.items():
        last, best = (
            {source: np.array([result[source][key] for result in results]) for source in SOURCES}
            for key in ("last", "best")
        )
        gain = last["purified"] - last["given"]
        cells = [mean_and_spread(values) for values in (last["given"], last["purified"], gain)]
        cost = epoch_seconds(method, roots) / epoch_seconds("naive", roots)
        rows.append(
            [
                method,
                *cells,
                f"{np.sum(gain >= 0)} of {len(gain)}",
                f"{cost:.1f}" if np.isfinite(cost) else "-",
            ]
            + [mean_and_spread(best[source]) for source in SOURCES]
        )
    others = {name: [results[name] for results in alone] for name in alone[0]}
    if "naive" in found:
        others["naive on true labels"] = [result["true"] for result in found["naive"]]
    for name, results in others.items():
        last, best = (mean_and_spread([result[key] for result in results]) for key in ("last", "best"))
        rows.append([name, last, "-", "-", "-", "-", best, "-"])
    header = [
        "method", "given labels", "purified labels", "gain", "not below", "epoch over naive's",
        "given, best epoch", "purified, best epoch",
    ]  # fmt: skip
    return f"{labels(rate, found, roots)}\n\n{markdown(header, rows)}"


def labels(rate: float, found: dict[str, list[dict]], roots: list[Path]) -> str:
    """What the labels of one noise rate are like."""
    summaries = [files.load_json(root / "summary.json") for root in roots]
    size, first = summaries[0]["rows"], next(iter(found.values()))
    wrong, estimates = (
        {source: mean_and_spread(values) for source, values in of.items()}
        for of in (
            {source: [1 - summary["labels"][source] for summary in summaries] for source in SOURCES},
            {source: [result[source]["noise_rate"] for result in first] for source in SOURCES},
        )
    )
    return (
        f"Symmetric noise at rate {rate}: {size['train']:,} rows, {size['val']:,} clean ones; wrong of the "
        f"given labels {wrong['given']} % (estimate {estimates['given']}), of the purified "
        f"{wrong['purified']} % (estimate, for the first method, {estimates['purified']}). Last of "
        f"{len(first[0]['given']['curve'])} epochs unless said otherwise."
    )


def epoch_seconds(method: str, roots: list[Path]) -> float:
    """Processor seconds of an epoch on purified labels, the median over workdirs of the mean over epochs.

    The dearest epoch does not count, as it may begin with another program; nor does the first. nan where no
    workdir has them.
    """
    means = []
    for root in roots:
        spent = seconds(root / "metrics.jsonl", f"retrain/{method}-purified")
        # Where a run was resumed, another process began to count.
        steps = np.diff(spent)
        if len(steps) > 1 and np.all(steps > 0):
            means.append((np.sum(steps) - np.max(steps)) / (len(steps) - 1))
    return float(np.median(means)) if means else np.nan


def seconds(path: Path, stage: str) -> list[float]:
    """Processor seconds after each epoch of a stage; nan where they were not logged."""
    records: Iterable[dict] = map(json.loads, path.read_text().splitlines())
    return [record.get("processor_seconds", np.nan) for record in records if record["stage"] == stage]


if __name__ == "__main__":
    main()
