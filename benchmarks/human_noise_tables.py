"""Turns the runs of human_noise.py into tables and the figure of --curve."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import markdown, mean_and_spread
from human_noise_methods import METHODS
from matplotlib.figure import Figure

from dmlp_jax.storage import files

# Of a run, the title of its column, and whether it is shown in percent.
COLUMNS = {
    "accuracy": ("labels right, %", True),
    "accuracy_all": ("with the reviewed rows, %", True),
    "changed": ("labels changed, %", True),
    "auroc": ("AUROC of the ranking", False),
    "average_precision": ("average precision", False),
    "confidence": ("mean confidence, %", True),
    "calibration_error": ("ECE", False),
    "claimed": ("accuracy claimed, %", True),
    "claimed_error": ("its standard error, %", True),
}


def table(runs: list[dict]) -> str:
    """A row for every data set, number of clean rows and method; means and spreads over seeds."""
    rows = []
    for (case, clean, method), found in _grouped(runs, "case", "clean", "method"):
        cells = [mean_and_spread(_values(found, name), percent) for name, (_, percent) in COLUMNS.items()]
        rows.append(
            [case, f"{clean:,}", f"{_values(found, 'reviewed').mean():,.0f}", METHODS[method].title, *cells]
        )
    header = ["data set", "clean rows", "reviewed", "method", *(title for title, _ in COLUMNS.values())]
    text = (
        f"Mean ± standard deviation over {_seeds(runs)} seeds. Labels, ranking and calibration are of the "
        "rows that were not reviewed. 'Clean rows' were asked for, 'reviewed' there were: as many of "
        "every class, at least one, at most half. Where suspects are reviewed, they are the rows whose "
        "given label is least likely by a cross-validated logistic regression on the given labels, and one "
        "more row of each class that these do not have. The ranking is of wrong given labels; ECE has 15 "
        "bins of equal mass. The logistic regressions claim their accuracy on held-out clean rows, the given "
        "labels what the review found of them.\n\n"
    )
    return text + markdown(header, rows)


def curve(runs: list[dict]) -> str:
    """A row for every data set and method, a column for every number of reviewed rows."""
    sizes = sorted({run["clean"] for run in runs})
    rows = []
    for (case, method), found in _grouped(runs, "case", "method"):
        by_size = dict(_grouped(found, "clean"))
        cells = [mean_and_spread(_values(by_size[size,], "accuracy_all")) for size in sizes]
        rows.append([case, METHODS[method].title, *cells])
    text = (
        "Share of right labels in %, the reviewed rows included, by the number of reviewed rows, of which"
        f" every class has at least one; mean ± standard deviation over {_seeds(runs)} seeds.\n\n"
    )
    return text + markdown(["data set", "method", *(f"{size:,}" for size in sizes)], rows)


def draw_curve(runs: list[dict], path: Path) -> None:
    """A panel for each data set: means as lines, every run as a dot."""
    cases = list(_grouped(runs, "case"))
    across, down = min(len(cases), 3), -(-len(cases) // 3)
    figure = Figure(figsize=(max(5.6, 4.6 * across), 3.4 * down + 0.8), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(cases) :]:
        axes.axis("off")
    for axes, ((case,), found) in zip(panels, cases, strict=False):
        sizes = sorted({run["clean"] for run in found})
        for (method,), of_method in _grouped(found, "method"):
            values = [
                100 * _values(of_size, "accuracy_all") for _, of_size in sorted(_grouped(of_method, "clean"))
            ]
            (drawn,) = axes.plot(sizes, np.mean(values, axis=1), label=METHODS[method].title)
            axes.plot(sizes, values, ".", color=drawn.get_color(), markersize=4)
        axes.set(title=case, xscale="log", xlabel="reviewed rows", ylabel="labels right, %")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    # Two columns of titles are wider than one panel.
    columns = 1 if across == 1 else 2
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    with files.atomic_writer(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})


def _grouped(runs: list[dict], *names: str) -> Iterator[tuple[tuple, list[dict]]]:
    """Runs that agree in `names`, with these values, in the order of their first one."""
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in names), []).append(run)
    yield from groups.items()


def _values(runs: list[dict], name: str) -> np.ndarray:
    """One number of every run, NaN where it has none."""
    return np.array([np.nan if run[name] is None else run[name] for run in runs], np.float64)


def _seeds(runs: list[dict]) -> int:
    """How many seeds there are."""
    return len({run["seed"] for run in runs})
