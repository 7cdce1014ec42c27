"""Formats results beside the paper's published numbers, as Markdown, CSV or text."""

import csv
import io
from typing import Any

import numpy as np

from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.reproduce.published import TITLES, Table
from dmlp_jax.reproduce.table_rows import CLEAN_IMAGES, NOTES

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
    """A line for each published number and for each reproduced number, under `HEADER`.

    Where the paper does not state the epoch of its number (Tables 2, 3, 7 and 9), the reproduced number is
    that of the last epoch: the best epoch is chosen on the test set, which is optimistic. The column 'epoch'
    says so.

    The column 'purifier' has the preset that made the labels of a row; it is empty where a row is not trained
    on purified labels.

    Args:
        table: the published table.
        every: the reproducible cells.
        found: results of `runner.run` by the cell's name, one per seed.
        failed: error messages of failed cells by name.
        stand_in: whether results are on other data than the paper's; then no difference is shown.
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
    """The lines of the chosen cells."""
    keys = {(cell.row, cell.column, cell.preset) for cell in chosen}
    return [row for row in rows if row[:3] in keys]


def markdown(table: Table, rows: list[tuple[str, ...]], about: str) -> str:
    """The table as Markdown, with `about` and the table's note under its title."""
    text = [f"# Table {table.number}: {TITLES[table.number]}", "", f"{about} {CLEAN_IMAGES}", ""]
    if table.number in NOTES:
        text += [NOTES[table.number], ""]
    text += ["| " + " | ".join(row) + " |" for row in (HEADER, ["---"] * len(HEADER), *rows)]
    return "\n".join(text) + "\n"


def as_csv(rows: list[tuple[str, ...]]) -> str:
    """The table as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    return text.getvalue()


def plain(rows: list[tuple[str, ...]]) -> str:
    """The table as aligned text."""
    widths = [max(len(row[place]) for row in (HEADER, *rows)) for place in range(len(HEADER))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (HEADER, *rows)
    )
