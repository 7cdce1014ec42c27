"""Reads the published numbers of the paper (arXiv 2302.06810v3): test accuracy in %, as printed."""

import csv
from importlib import resources
from typing import NamedTuple

from dmlp_jax.errors import UserError

TITLES = {
    1: "CIFAR-10 and -100 with symmetric noise",
    2: "CIFAR-10 with asymmetric noise",
    3: "Clothing1M",
    4: "Methods alone and on purified labels",
    5: "IPC and EAC, each alone and together",
    6: "Coupled purifiers with the same encoder",
    7: "Share of Clothing1M's clean set",
    8: "Where the features come from",
    9: "The clean set as the only labels",
}


class Table(NamedTuple):
    """A table of the paper.

    Attributes:
        number: 1 to 9.
        columns: settings, such as 'cifar10_sym80'.
        rows: methods, in the paper's order.
        values: by (row, column), the printed accuracy by epoch, 'best' and 'last', or '' where the paper
            does not state the epoch; absent where nothing is printed.
    """

    number: int
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: dict[tuple[str, str], dict[str, float]]


def table(number: int) -> Table:
    """Reads a table.

    Raises:
        UserError: there is no such table.
    """
    if number not in TITLES:
        raise UserError(f"--table={number}: the paper's tables are {min(TITLES)} to {max(TITLES)}")
    place = resources.files("dmlp_jax.reproduce") / "published" / f"table{number}.csv"
    (_, _, *columns), *lines = csv.reader(place.read_text(encoding="utf-8").splitlines())
    values: dict[tuple[str, str], dict[str, float]] = {}
    for method, epoch, *numbers in lines:
        for column, text in zip(columns, numbers, strict=True):
            if text:
                values.setdefault((method, column), {})[epoch] = float(text)
    return Table(number, tuple(columns), tuple(dict.fromkeys(line[0] for line in lines)), values)
