"""Reproduces the paper's Figures 2 and 4: what coupled and decoupled purification do during training.

The paper prints no numbers for them. Its text says that DMLP's labels pass 92 % accuracy early at 20 % noise
and reach a similar level at 80 %, above MLC and MSLC (Fig. 4), and that decoupling is better than coupling
(Fig. 2). Fig. 2 has three panels:

a: accuracy of the labels that MLC corrects, coupled, and with weights that are fixed after 70 of 120 epochs;
b: accuracy of a linear probe of the features of the same two runs;
c: test accuracy of the classifiers of MLC and MSLC: from scratch, from the pretrained encoder, and with that
   encoder fixed ('SimCLR-decoupled': a linear layer on its features, see `retrain.init=frozen`).

The purifier's labels are drawn beside those of panel a.
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
from dmlp_jax.reproduce.curve_cells import Figure, Panel
from dmlp_jax.storage import files

# By quantity, the values after the steps, the last of which is the run's end.
Curves = dict[str, list[float]]


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
        cell: _curves(cell, seed, budget, root, folders, stop)
        for cell in curve_cells.of_figure(number, presets)
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "line", "quantity", "share of the steps", "value"])
    for panel in figure.panels:
        for cell, values in _lines(panel, found):
            for place, value in enumerate(values, 1):
                share = f"{place / len(values):.4f}"
                writer.writerow([cell.column, curve_cells.label(cell), panel.quantity, share, f"{value:.4f}"])
    picture = root / f"figure{number}.png"
    files.save_text(picture.with_suffix(".csv"), text.getvalue())
    _draw(figure, found, budget, picture)
    return picture


def _curves(
    cell: Cell, seed: int, budget: Budget, root: Path, folders: dict[str, str], stop: Callable[[], bool]
) -> Curves:
    """The panels' quantities after every step of the purifier, or after every epoch of a coupled method."""
    config = cells.config_of(cell, seed, budget, folders)
    workdir = root / "runs" / cells.run_name(config) / f"seed{seed}"
    runner.share_encoder(config, root / "encoders" / cells.encoder_name(config), workdir, stop)
    purifies = curve_cells.purifies(cell)
    config.stages = "pretrain,extract,purify" + ("" if purifies else ",retrain")
    pipeline.run(config, workdir, stop)
    stage = "purify" if purifies else f"retrain/{cell.how.method}-{cell.how.labels}"
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["stage"] == stage]
    quantities = ("label_accuracy", "probe_accuracy", "test_accuracy")
    return {name: [record[name] for record in records if name in record] for name in quantities}


def _lines(panel: Panel, found: dict[Cell, Curves]) -> list[tuple[Cell, list[float]]]:
    """The runs of a panel, under all settings, with their values."""
    return [(cell, curves[panel.quantity]) for cell, curves in found.items() if cell.row in panel.lines]


def _draw(figure: Figure, found: dict[Cell, Curves], budget: Budget, path: Path) -> None:
    """Draws a row of axes for each panel, with a column for each setting."""
    from matplotlib.figure import Figure as Canvas

    size = (4.5 * len(figure.columns), 0.4 + 3 * len(figure.panels))
    canvas = Canvas(figsize=size, layout="constrained")
    grid = canvas.subplots(len(figure.panels), len(figure.columns), sharey="row", squeeze=False)
    for panel, row in zip(figure.panels, grid, strict=True):
        for axes, column in zip(row, figure.columns, strict=True):
            for cell, values in _lines(panel, found):
                if cell.column == column:
                    shares = [(place + 1) / len(values) for place in range(len(values))]
                    axes.plot(shares, [100 * value for value in values], label=curve_cells.label(cell))
            axes.set_title(f"digits in place of {column}" if budget.stand_in else column)
            axes.set_xlabel("share of the steps")
        row[0].set_ylabel(panel.title)
        row[-1].legend(fontsize="small")
    canvas.suptitle(figure.title)
    with files.atomic_writer(path) as file:
        canvas.savefig(file, format="png", dpi=150)
