"""Lists the paper's figures with curves, and the run behind each line."""

from typing import Any, NamedTuple

from dmlp_jax.errors import UserError
from dmlp_jax.reproduce import cells
from dmlp_jax.reproduce.budgets import Budget
from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.reproduce.table_rows import PRESETS, How


class Figure(NamedTuple):
    """A figure: the settings of its panels, and the run of each line by name."""

    title: str
    columns: tuple[str, ...]
    lines: dict[str, How]


_COUPLED: dict[str, Any] = {"with_val": True, "init": "encoder"}
_PURIFIER = How("naive", "purified", presets=PRESETS)
FIGURES = {
    2: Figure(
        "Coupled and decoupled purification",
        ("cifar10_sym50", "cifar10_sym90"),
        {
            "MLC": How("mlc", with_val=True),
            "MLC, SimCLR, coupled": How("mlc", **_COUPLED),
            "MSLC": How("mslc", with_val=True),
            "MSLC, SimCLR, coupled": How("mslc", **_COUPLED),
            "DMLP, SimCLR, decoupled": _PURIFIER,
        },
    ),
    4: Figure(
        "Accuracy of corrected labels",
        ("cifar10_sym20", "cifar10_sym80"),
        {"MLC": How("mlc", **_COUPLED), "MSLC": How("mslc", **_COUPLED), "DMLP": _PURIFIER},
    ),
}


def get(number: int) -> Figure:
    """A figure.

    Raises:
        UserError: there is no such figure.
    """
    if number not in FIGURES:
        raise UserError(
            f"--figure={number}: the paper's curves are in figures {', '.join(map(str, FIGURES))}"
        )
    return FIGURES[number]


def purifies(cell: Cell) -> bool:
    """Whether a line shows the purifier's steps, for which no network is trained."""
    return cell.how.labels == "purified"


def of_figure(number: int, presets: tuple[str, ...] = PRESETS) -> list[Cell]:
    """The lines of a figure, panel by panel, those of the purifier under each of `presets`.

    Raises:
        UserError: there is no such figure.
    """
    figure = get(number)
    return [
        Cell(0, name, column, preset, how)
        for column in figure.columns
        for name, how in figure.lines.items()
        for preset in how.presets
        if preset in ("", *presets)
    ]


def label(cell: Cell) -> str:
    """The line's name in the legend."""
    return f"{cell.row}, {cell.preset} preset" if cell.preset else cell.row


def cost(cell: Cell, budget: Budget) -> str:
    """The cost of a line in words, see `cells.cost`."""
    whole = cells.cost(cell, budget)
    return "the purifier" + whole[whole.index(", on features") :] if purifies(cell) else whole
