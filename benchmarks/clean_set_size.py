"""Measures label accuracy of purified labels and of the probes by the number of clean rows per class.

    python benchmarks/clean_set_size.py

The data are scikit-learn's 1,797 digits, whose 64 pixels are the features, or features from a file (see
tasks.py). Every size has the same number of training rows; surplus rows are not used. Also draws
docs/clean_set_size.svg.
"""

import argparse
from pathlib import Path

import numpy as np
import tasks
from common import markdown, mean_and_spread, write
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from dmlp_jax import purify
from dmlp_jax.purifier.probes import PROBES
from dmlp_jax.storage import files

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Runs every size, noise and seed; writes benchmarks/results/<name>.md and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, help="an npz with train and train_labels; pixels if absent")
    parser.add_argument("--sizes", default="1,2,3,5,10,20,50", help="clean rows per class")
    parser.add_argument("--noises", default="sym50,sym80", help="names like sym80, asym40")
    parser.add_argument("--seeds", type=int, default=3, help="draws of clean rows and noise")
    parser.add_argument("--name", default="clean_set_size", help="of the result and the figure")
    arguments = parser.parse_args()
    features, true = load(arguments.features)
    sizes, noises = [int(size) for size in arguments.sizes.split(",")], arguments.noises.split(",")
    classes = int(true.max()) + 1
    rows, seeds = len(true) - classes * max(sizes), range(arguments.seeds)
    found = {
        (noise, size): [measure(features, true, noise, size * classes, rows, s) for s in seeds]
        for noise in noises
        for size in sizes
    }
    header = [
        "noise",
        "clean rows per class",
        "given",
        *(name.replace("_", " ") for name in PROBES),
        "purified",
    ]
    header += ["purified - best probe", "at or above every baseline"]
    table = markdown(header, [line(noise, size, runs) for (noise, size), runs in found.items()])
    text = (
        f"{rows:,} training rows, {features.shape[1]} features, {arguments.seeds} seeds: label accuracy in "
        "%, mean ± standard deviation. 'Best probe' is picked afterwards, run by run, by its label accuracy, "
        "which nobody knows beforehand; the last column also counts the given labels as a baseline.\n\n"
    )
    data = "digits" if arguments.features is None else arguments.features.stem
    write(arguments.name, f"Clean rows per class on {data}", text + table)
    draw(found, noises, sizes, DOCS / f"{arguments.name}.svg")


def load(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d], float32, and true labels [n]."""
    if path is None:
        inputs, labels = load_digits(return_X_y=True)
        return inputs.astype(np.float32), labels.astype(np.int32)
    stored = files.load_npz(path, ("train", "train_labels"))
    return stored["train"], stored["train_labels"].astype(np.int32)


def measure(
    features: np.ndarray, true: np.ndarray, noise: str, clean: int, rows: int, seed: int
) -> dict[str, float]:
    """Label accuracy by source, in [0, 1], with `clean` clean rows and `rows` training rows."""
    rng = np.random.default_rng(seed)
    train, val = tasks.stratified(true, clean, rng)
    train = train[:rows]
    labels = tasks.corrupt(features[train], true[train], noise, rng)
    result = purify(features[train], labels, (features[val], true[val]))
    sources = {"given": labels, **result.baselines, "purified": result.labels}
    accuracies = {name: float(np.mean(np.asarray(found) == true[train])) for name, found in sources.items()}
    print(noise, clean, seed, accuracies, flush=True)
    return accuracies


def line(noise: str, size: int, runs: list[dict[str, float]]) -> list[str]:
    """A row of the table."""
    names = ("given", *PROBES, "purified")
    cells = [mean_and_spread([run[name] for run in runs]) for name in names]
    gains = [100 * (run["purified"] - max(run[name] for name in PROBES)) for run in runs]
    above = sum(run["purified"] >= max(run[name] for name in names[:-1]) for run in runs)
    gain = f"{np.mean(gains):+.1f}" + (f" ± {np.std(gains, ddof=1):.1f}" if len(gains) > 1 else "")
    return [noise, str(size), *cells, gain, f"{above} of {len(runs)}"]


def draw(found: dict, noises: list[str], sizes: list[int], path: Path) -> None:
    """A panel for each noise: means as lines, every run as a dot."""
    figure = Figure(figsize=(4.6 * len(noises), 3.6), layout="constrained")
    panels = figure.subplots(1, len(noises), sharey=True, squeeze=False)[0]
    for axes, noise in zip(panels, noises, strict=True):
        for name, style in zip(("purified", *PROBES), ("-", "--", ":", "-."), strict=True):
            values = 100 * np.asarray([[run[name] for run in found[noise, size]] for size in sizes])
            (drawn,) = axes.plot(sizes, values.mean(axis=1), style, label=name.replace("_", " "))
            axes.plot(sizes, values, ".", color=drawn.get_color(), markersize=4)
        axes.set(title=noise, xscale="log", xlabel="clean rows per class")
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[-1].legend(loc="lower right")
    panels[0].set_ylabel("label accuracy, %")
    with files.atomic_writer(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
