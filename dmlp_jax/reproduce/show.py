"""What was found beside what the paper prints."""

import csv
import io
from typing import Any

import numpy as np

from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.reproduce.published import TITLES, Table

HEADER = (
    "method", "setting", "purifier", "epoch", "paper", "here", "difference", "seeds", "spread",
    "label accuracy", "epochs",
)  # fmt: skip


def lines(
    table: Table,
    every: list[Cell],
    found: dict[str, list[dict[str, Any]]],
    failed: dict[str, str],
    stand_in: bool = False,
) -> list[tuple[str, ...]]:
    """A line for each number of the paper, and for each of ours, under `HEADER`.

    Where the paper does not say which epoch its number is of (Tables 2, 3, 7 and 9), ours is of the last one:
    the best is chosen on the test set, and would flatter us. The column 'epoch' says so.

    Args:
        table: of the paper.
        every: the cells that are made here.
        found: results of `runner.run` by the cell's name, one per seed.
        failed: why a cell could not be made, by its name.
        stand_in: results are of other data than the paper's, so that a difference would say nothing.
    """
    rows: list[tuple[str, ...]] = []
    made = {(cell.row, cell.column) for cell in every}
    extra = [row for row in dict.fromkeys(cell.row for cell in every) if row not in table.rows]
    for row in (*table.rows, *extra):
        for column in table.columns:
            printed = table.values.get((row, column), {})
            for cell in (cell for cell in every if (cell.row, cell.column) == (row, column)):
                rows += _ours(cell, printed, found.get(cell.name, []), failed.get(cell.name), stand_in)
            if (row, column) not in made:
                rows += [
                    (row, column, "", epoch or "not said", f"{value:.1f}", *_NOT_HERE)
                    for epoch, value in printed.items()
                ]
    return rows


_NOT_HERE = ("as published", "", "", "", "", "")


def _ours(
    cell: Cell,
    printed: dict[str, float],
    results: list[dict[str, Any]],
    failure: str | None,
    stand_in: bool,
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for epoch in printed or ("best", "last"):
        paper = printed.get(epoch)
        said = epoch or "last (paper: not said)"
        start = (cell.row, cell.column, cell.preset, said, "" if paper is None else f"{paper:.1f}")
        if not results:
            rows.append((*start, "not run" if failure is None else "failed", "", "", "", "", ""))
            continue
        values = np.array([result[epoch or "last"] for result in results])
        known = [result["labels"] for result in results if result["labels"] is not None]
        rows.append(
            (
                *start,
                f"{values.mean():.1f}",
                "" if paper is None or stand_in else f"{values.mean() - paper:+.1f}",
                str(len(values)),
                f"{values.std(ddof=1):.1f}" if len(values) > 1 else "",
                f"{np.mean(known):.1f}" if known else "",
                str(results[0]["epochs"]),
            )
        )
    return rows


def only(rows: list[tuple[str, ...]], chosen: list[Cell]) -> list[tuple[str, ...]]:
    """The lines of these cells."""
    keys = {(cell.row, cell.column, cell.preset) for cell in chosen}
    return [row for row in rows if row[:3] in keys]


def markdown(table: Table, rows: list[tuple[str, ...]], about: str) -> str:
    """The table as Markdown, with `about` under its title."""
    text = [f"# Table {table.number}: {TITLES[table.number]}", "", about, ""]
    text += ["| " + " | ".join(row) + " |" for row in (HEADER, ["---"] * len(HEADER), *rows)]
    return "\n".join(text) + "\n"


def as_csv(rows: list[tuple[str, ...]]) -> str:
    """The table as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    return text.getvalue()


def plain(rows: list[tuple[str, ...]]) -> str:
    """The table for a screen."""
    widths = [max(len(row[place]) for row in (HEADER, *rows)) for place in range(len(HEADER))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (HEADER, *rows)
    )
