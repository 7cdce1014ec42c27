"""Lists the paper's figures with curves: the run behind each line, and what each panel shows of the runs."""

from typing import Any, NamedTuple

from dmlp_jax.errors import UserError
from dmlp_jax.reproduce import cells
from dmlp_jax.reproduce.budgets import Budget
from dmlp_jax.reproduce.cells import Cell
from dmlp_jax.reproduce.table_rows import PRESETS, How


class Panel(NamedTuple):
    """A panel of a figure, drawn once for each setting.

    Attributes:
        title: what it shows.
        quantity: name of the metric.
        lines: names of the runs in it.
    """

    title: str
    quantity: str
    lines: tuple[str, ...]


class Figure(NamedTuple):
    """A figure.

    Attributes:
        title: of all panels.
        columns: settings, such as 'cifar10_sym50'.
        lines: the runs by name.
        panels: what is drawn of them.
    """

    title: str
    columns: tuple[str, ...]
    lines: dict[str, How]
    panels: tuple[Panel, ...]


_COUPLED: dict[str, Any] = {"with_val": True, "init": "encoder"}
_FROZEN: dict[str, Any] = {"with_val": True, "init": "frozen"}
_PROBED: dict[str, Any] = {"with_val": True, "settings": (("linear_probe", True),)}
_PURIFIER = How("naive", "purified", presets=PRESETS)
_LABELS = "right labels, %"
FIGURES = {
    2: Figure(
        "Coupled and decoupled purification",
        ("cifar10_sym50", "cifar10_sym90"),
        {
            "MLC": How("mlc", **_PROBED),
            "MLC, decoupled": How("mlc_decoupled", **_PROBED),
            "MLC, SimCLR-coupled": How("mlc", **_COUPLED),
            "MLC, SimCLR-decoupled": How("mlc", **_FROZEN),
            "MSLC": How("mslc", with_val=True),
            "MSLC, SimCLR-coupled": How("mslc", **_COUPLED),
            "MSLC, SimCLR-decoupled": How("mslc", **_FROZEN),
            "DMLP": _PURIFIER,
        },
        (
            # The paper's panel a has MLC and its decoupled variant; the purifier is added.
            Panel(_LABELS, "label_accuracy", ("MLC", "MLC, decoupled", "DMLP")),
            Panel("linear probe of the features, %", "probe_accuracy", ("MLC", "MLC, decoupled")),
            Panel(
                "test accuracy of the classifier, %",
                "test_accuracy",
                tuple(
                    name + start
                    for name in ("MLC", "MSLC")
                    for start in ("", ", SimCLR-coupled", ", SimCLR-decoupled")
                ),
            ),
        ),
    ),
    4: Figure(
        "Accuracy of corrected labels",
        ("cifar10_sym20", "cifar10_sym80"),
        {"MLC": How("mlc", **_COUPLED), "MSLC": How("mslc", **_COUPLED), "DMLP": _PURIFIER},
        (Panel(_LABELS, "label_accuracy", ("MLC", "MSLC", "DMLP")),),
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
    """The runs of a figure, setting by setting, those of the purifier under each of `presets`.

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
