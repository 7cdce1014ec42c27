"""Compares the forms in which methods that correct labels themselves can be given purified labels.

    python benchmarks/label_forms.py --workdir=runs/boost
    python benchmarks/label_forms.py --features=data/cifar10_features.npz --workdir=runs/boost_features

The tasks, start and settings are those of retrain_boost.py, and in its workdir nothing is trained twice.
The forms:

- hard: the most probable class;
- soft: the purified distribution;
- accepted: the most probable class of rows whose confidence is at least --accept, and for the others the
  uniform distribution, which says nothing;
- kept: for cross-entropy, the accepted rows alone, without the others;
- split: for DivideMix, the most probable class, and the confidence divides the rows into labelled and
  unlabelled ones, at the recipe's threshold. In the other forms their losses do, as published;
- split high: the same with --accept as the threshold: the accepted rows are labelled, all others unlabelled.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import boost_tasks as tasks
import numpy as np
from common import markdown, mean_and_spread, write
from ml_collections import ConfigDict

from dmlp_jax.data.images import lazy
from dmlp_jax.pipeline.run import Run
from dmlp_jax.report import contents

METHODS = "naive,dividemix,ssr_plus,promix"
# Those of a method that is not named. Cross-entropy has no use for rows without a label, and DivideMix gets
# them by the split.
FORMS = ("hard", "soft", "accepted")
OF_METHOD = {"naive": ("hard", "soft", "kept"), "dividemix": ("hard", "soft", "split high")}
# What a method logs of the share of rows whose labels it takes.
SHARES = {
    "dividemix": "labelled",
    "ssr_plus": "selected",
    "ssr": "selected",
    "promix": "chosen",
    "rrl": "used",
}


def main() -> None:
    """Trains everything and writes benchmarks/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks.add_arguments(parser)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--accept", type=float, default=0.9, help="least confidence of an accepted label")
    parser.add_argument("--name", default="label_forms", help="of the file in benchmarks/results")
    arguments = parser.parse_args()
    tasks.keep_programs(arguments)

    methods, rates = arguments.methods.split(","), [float(rate) for rate in arguments.rates.split(",")]
    found: dict = {rate: {method: [] for method in methods} for rate in rates}
    labels: dict = {rate: [] for rate in rates}
    for seed in range(arguments.seeds):
        for rate in rates:
            root = tasks.folder(rate, seed, arguments)
            for method in methods:
                config = tasks.settings(method, rate, seed, root, arguments)
                found[rate][method].append(compared(config, root, arguments.accept))
            labels[rate].append(described(config, root, arguments.accept))
    title = f"Forms of purified labels, {tasks.seeds(arguments)}, test accuracy in % after the last epoch"
    write(
        arguments.name,
        title,
        "\n\n".join(table(rate, found[rate], labels[rate], arguments) for rate in rates),
    )


def compared(config: ConfigDict, root: Path, accept: float) -> dict[str, dict[str, Any]]:
    """The results of one method and task by form, with the share of rows whose labels it takes at last."""
    name = config.retrain.method
    stage = tasks.trained(config, root, "given,purified,true" if name == "naive" else "given,purified")
    results = {"given": stage["given"] | {"share": last_share(root / "metrics.jsonl", name, "given")}}
    usual = "split" if name == "dividemix" else "soft" if config.recipes[name]["soft_labels"] else "hard"
    results[usual] = stage["purified"] | {"share": last_share(root / "metrics.jsonl", name, "purified")}
    for form in OF_METHOD.get(name, FORMS):
        if form not in results:
            if form == "split high":
                config.recipes.dividemix.update(divide_by="confidence", threshold=((0.0, accept),))
            elif name == "dividemix":
                config.recipes.dividemix.divide_by = "losses"
            run = tasks.opened(config, root)
            results[form] = trained(run, form, accept)
            run.session.log.close()
            results[form]["share"] = last_share(root / "beside" / "metrics.jsonl", name, form)
    return results


def trained(run: Run, form: str, accept: float) -> dict[str, Any]:
    """The result of the run's method on purified labels of this form."""
    problem = tasks.rows_of(run)
    probs = contents.load(run.workdir.purified, ("probs",))["probs"]
    confidence, identity = np.max(probs, axis=1), np.eye(probs.shape[1], dtype=np.float32)
    hard, accepted = identity[np.argmax(probs, axis=1)], np.max(probs, axis=1) >= accept
    wrong = {
        "hard": np.mean(1 - confidence),
        "soft": np.mean(1 - np.sum(probs**2, axis=1)),
        # Rows without a label are taken for wrong ones.
        "accepted": np.mean(np.where(accepted, 1 - confidence, 1.0)),
        "kept": np.mean(1 - confidence[accepted]),
    }
    wrong["split high"] = wrong["soft"]
    labels = {"hard": hard, "soft": probs, "split high": probs, "kept": hard[accepted]}
    labels["accepted"] = np.where(accepted[:, None], hard, identity.mean(0))
    if form == "kept":
        rows = np.flatnonzero(accepted)
        problem = problem._replace(
            train_inputs=lazy.take(problem.train_inputs, rows), given_labels=problem.given_labels[rows],
            true_labels=problem.true_labels[rows],
        )  # fmt: skip
    return tasks.beside(run, problem, {form: labels[form]}, {form: float(wrong[form])})[form]


def last_share(path: Path, name: str, source: str) -> float:
    """Share of rows whose labels the method takes in the last epoch; nan where it logs none."""
    stage = f"retrain/{name}-{source}"
    records = [
        record for record in map(json.loads, path.read_text().splitlines()) if record["stage"] == stage
    ]
    return records[-1].get(SHARES.get(name), np.nan)


def described(config: ConfigDict, root: Path, accept: float) -> dict[str, float]:
    """Shares of purified labels that are right: of all, of the accepted, and the share that is accepted."""
    run = tasks.opened(config, root)
    probs, true = contents.load(run.workdir.purified, ("probs",))["probs"], run.problem.true_labels
    run.session.log.close()
    right, accepted = np.argmax(probs, axis=1) == true, np.max(probs, axis=1) >= accept
    return {"right": right.mean(), "accepted": accepted.mean(), "accepted right": right[accepted].mean()}


def table(
    rate: float, found: dict[str, list[dict]], labels: list[dict], arguments: argparse.Namespace
) -> str:
    """One noise rate: a row for each method and form."""
    rows = []
    for method, results in found.items():
        for form in results[0]:
            last = np.array([result[form]["last"] for result in results])
            given = np.array([result["given"]["last"] for result in results])
            gain = "-" if form == "given" else mean_and_spread(last - given)
            best, share = (
                mean_and_spread([result[form][key] for result in results]) for key in ("best", "share")
            )
            rows.append([method, form, mean_and_spread(last), gain, best, share])
    shares = {key: mean_and_spread([label[key] for label in labels]) for key in labels[0]}
    header = ["method", "labels", "test accuracy", "gain", "best epoch", "labels taken at last, % of rows"]
    return (
        f"Symmetric noise at rate {rate}: {shares['right']} % of the purified labels are right. "
        f"{shares['accepted']} % have a confidence of {arguments.accept} or more, and of these "
        f"{shares['accepted right']} % are right.\n\n{markdown(header, rows)}"
    )


if __name__ == "__main__":
    main()
