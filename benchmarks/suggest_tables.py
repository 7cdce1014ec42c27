"""Turns the runs of suggest.py into tables and a figure."""

from pathlib import Path

import numpy as np
from common import markdown, mean_and_spread
from matplotlib.figure import Figure

from dmlp_jax.storage import files

# Numbers of reviewed rows.
BUDGETS = (40, 80, 160, 200, 320)
CHANCE, SUGGESTION = "chance", "suggestion"
# Reviewed rows of suggestion that are compared with more rows by chance.
FEWER, MORE = 200, 320


def text(runs: list[dict]) -> str:
    """The tables: accuracies, suggestion less chance, and what the purifier claims."""
    by_cell = grouped(runs)
    seeds = len({run["seed"] for run in runs})
    sizes = ", ".join(f"{case} {run['rows']:,}" for case, run in {run["case"]: run for run in runs}.items())
    titles = [f"{budget}" for budget in BUDGETS]
    accuracies = [
        [case, method, *(mean_and_spread(list(column)) for column in values(found, "accuracy").T)]
        for (case, method), found in by_cell.items()
    ]
    parts = [
        f"Share of right labels in %, the reviewed rows included, by the number of reviewed rows; mean ± "
        f"standard deviation over {seeds} seeds. Rows: {sizes}.",
        markdown(["data set", "reviewed rows by", *titles], accuracies),
    ]
    cases = [case for case, method in by_cell if method == SUGGESTION and (case, CHANCE) in by_cell]
    if cases:
        parts += [
            f"Suggestion less chance in points, ± one standard error over the seeds; and suggestion with "
            f"{FEWER} reviewed rows less chance with {MORE}:",
            markdown(
                ["suggestion less chance", *titles, f"{FEWER} less {MORE}"],
                [_differences(by_cell, case) for case in cases],
            ),
        ]
    parts += [
        "Accuracy that the purifier claims for rows that were not reviewed, less the true one, in points; "
        "mean ± standard deviation. It counts only rows that are marked as drawn at random; - where there is "
        "none:",
        markdown(
            ["claimed less true", "reviewed rows by", *titles],
            [
                [case, method, *(mean_and_spread(list(column)) for column in _excess(found).T)]
                for (case, method), found in by_cell.items()
            ],
        ),
    ]
    return "\n\n".join(parts)


def grouped(runs: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Runs by case and method, in the order of their first one; each in the order of its seeds."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        groups.setdefault((run["case"], run["method"]), []).append(run)
    return dict(sorted(groups.items(), key=lambda item: [run["case"] for run in runs].index(item[0][0])))


def values(found: list[dict], name: str) -> np.ndarray:
    """A list of every run, [seeds, budgets]; NaN where there is no number."""
    return np.array([[np.nan if value is None else value for value in run[name]] for run in found])


def _differences(by_cell: dict, case: str) -> list[str]:
    ours, chance = (values(by_cell[case, method], "accuracy") for method in (SUGGESTION, CHANCE))
    fewer = ours[:, BUDGETS.index(FEWER)] - chance[:, BUDGETS.index(MORE)]
    return [case, *(_with_error(column) for column in (*(ours - chance).T, fewer))]


def _with_error(differences: np.ndarray) -> str:
    points = 100 * differences
    error = points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else np.nan
    return f"{points.mean():+.2f} ± {error:.2f}"


def _excess(found: list[dict]) -> np.ndarray:
    return values(found, "claimed") - values(found, "unreviewed")


def draw(runs: list[dict], path: Path) -> None:
    """A panel for each data set: means as lines, every run as a dot."""
    by_cell = grouped(runs)
    cases = list(dict.fromkeys(case for case, _ in by_cell))
    figure = Figure(figsize=(4.2 * len(cases), 4.2), layout="constrained")
    panels = figure.subplots(1, len(cases), squeeze=False)[0]
    for axes, case in zip(panels, cases, strict=True):
        for (of_case, method), found in by_cell.items():
            if of_case == case:
                shares = 100 * values(found, "accuracy")
                (drawn,) = axes.plot(BUDGETS, shares.mean(axis=0), label=method)
                axes.plot(BUDGETS, shares.T, ".", color=drawn.get_color(), markersize=3)
        axes.set(title=case, xlabel="reviewed rows", ylabel="labels right, %", xscale="log")
        axes.set_xticks(BUDGETS, list(map(str, BUDGETS)), minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    with files.atomic_writer(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
