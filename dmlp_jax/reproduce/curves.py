"""Reproduces the paper's Figures 2 and 4: label accuracy during purification, coupled and decoupled.

The paper prints no numbers for them. Its text says that DMLP's labels pass 92 % accuracy early at 20 % noise
and reach a similar level at 80 %, above MLC and MSLC (Fig. 4), and that decoupling is better than coupling
(Fig. 2). Fig. 2 here shows MLC and MSLC from scratch and from the pretrained encoder beside the purifier on
that encoder's features; the paper freezes MLC's weights after 70 epochs for its decoupled curve.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from dmlp_jax.pipeline import pipeline
from dmlp_jax.reproduce import cells, curve_cells, runner
from dmlp_jax.reproduce.budgets import Budget
from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.reproduce.curve_cells import Figure
from dmlp_jax.storage import files


def make(
    number: int,
    presets: tuple[str, ...],
    seed: int,
    budget: Budget,
    root: Path,
    folders: dict[str, str],
    stop: Callable[[], bool],
) -> Path:
    """Computes a figure's curves, draws them and writes them as CSV beside the picture; returns its path.

    Args:
        number: number of the figure.
        presets: presets of the purifier, each with lines of its own.
        seed: seed of the runs.
        budget: length of the runs.
        root: see `runner.run`.
        folders: see `cells.config_of`.
        stop: see `pipeline.run`.

    Raises:
        UserError: no such figure, or missing data.
        Stopped: `stop` returned true.
    """
    figure = curve_cells.get(number)
    found = {
        (cell.column, curve_cells.label(cell)): _curve(cell, seed, budget, root, folders, stop)
        for cell in curve_cells.of_figure(number, presets)
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "line", "share of the steps", "label accuracy"])
    for (column, name), values in found.items():
        for place, value in enumerate(values, 1):
            writer.writerow([column, name, f"{place / len(values):.4f}", f"{value:.4f}"])
    picture = root / f"figure{number}.png"
    files.save_text(picture.with_suffix(".csv"), text.getvalue())
    _draw(figure, found, budget, picture)
    return picture


def _curve(cell: Cell, seed: int, budget: Budget, root: Path, folders: dict[str, str], stop) -> list[float]:
    """Label accuracy after every step of the purifier, or after every epoch of a coupled method."""
    config = cells.config_of(cell, seed, budget, folders)
    workdir = root / "runs" / cells.run_name(config) / f"seed{seed}"
    runner.share_encoder(config, root / "encoders" / cells.encoder_name(config), workdir, stop)
    purifies = curve_cells.purifies(cell)
    config.stages = "pretrain,extract,purify" + ("" if purifies else ",retrain")
    pipeline.run(config, workdir, stop)
    stage = "purify" if purifies else f"retrain/{cell.how.method}-{cell.how.labels}"
    records = map(json.loads, (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["label_accuracy"] for record in records if record["stage"] == stage]


def _draw(figure: Figure, found: dict[tuple[str, str], list[float]], budget: Budget, path: Path) -> None:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(4.5 * len(figure.columns), 3.4), layout="constrained")
    panels = canvas.subplots(1, len(figure.columns), sharey=True)
    for panel, column in zip(panels, figure.columns, strict=True):
        for name, values in ((name, values) for (at, name), values in found.items() if at == column):
            shares = [(place + 1) / len(values) for place in range(len(values))]
            panel.plot(shares, [100 * value for value in values], label=name)
        panel.set_title(f"digits in place of {column}" if budget.stand_in else column)
        panel.set_xlabel("share of the steps")
    panels[0].set_ylabel("right labels, %")
    panels[-1].legend(fontsize="small")
    canvas.suptitle(figure.title)
    with files.atomic_writer(path) as file:
        canvas.savefig(file, format="png", dpi=150)
