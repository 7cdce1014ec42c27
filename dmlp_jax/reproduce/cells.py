"""Lists the reproducible cells of the paper's tables, with the configuration of each cell's run."""

import difflib
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ml_collections import ConfigDict

from dmlp_jax.config import (
    apply_recipe,
    cifar_config,
    clothing1m_config,
    default_config,
    flatten,
    with_moco,
    with_noise,
)
from dmlp_jax.errors import UserError
from dmlp_jax.reproduce import published
from dmlp_jax.reproduce.budgets import Budget
from dmlp_jax.reproduce.table_rows import PRESETS, ROWS, How

# Settings of the data's location, and those of `retrain` that all methods of a workdir share.
_PLACES = ("data.dir", "data.path", "data.workers", "data.memory_gb")
_TOGETHER = ("retrain.with_val", "retrain.init", "retrain.linear_probe")
ENCODERS = ("simclr_resnet18", "simclr_resnet50", "moco_resnet18", "clothing1m")


class Cell(NamedTuple):
    """A number of a table that can be reproduced.

    Attributes:
        table: number of the table.
        row: method, the row of the table.
        column: setting, the column of the table.
        preset: preset of the purifier; '' where no purified labels are trained on.
        how: the method and the labels that are trained on.
    """

    table: int
    row: str
    column: str
    preset: str
    how: How

    @property
    def name(self) -> str:
        """Such as 'DivideMix/cifar10_sym80', or 'DMLP-Naive/cifar10_sym80/paper' on purified labels."""
        return "/".join(part for part in (self.row, self.column, self.preset) if part)


def of_table(number: int, wanted: Iterable[str] = (), presets: Iterable[str] = PRESETS) -> list[Cell]:
    """The reproducible cells of a table, in its order.

    Args:
        number: number of the table.
        wanted: words; a cell is selected if one of them is its row, its column, its preset, its name, or the
            beginning or end of its column. Without words all cells are selected.
        presets: presets of the purifier; rows without purified labels belong to each.

    Raises:
        UserError: no such table, or a word that matches no cell.
    """
    presets = list(presets)
    chosen = {word.lower() for word in check_words(wanted, [number], presets)}
    return [cell for cell in _every(number, presets) if not chosen or chosen & _words(cell)]


def check_words(wanted: Iterable[str], numbers: Iterable[int], presets: Iterable[str] = PRESETS) -> list[str]:
    """The words, after checking that each matches a cell of one of the tables; see `of_table`.

    Raises:
        UserError: no such table, or a word that matches no cell of any table.
    """
    wanted, numbers, presets = list(wanted), list(numbers), list(presets)
    known = sorted({word for number in numbers for cell in _every(number, presets) for word in _words(cell)})
    for word in wanted:
        if word.lower() not in known:
            near = difflib.get_close_matches(word.lower(), known, n=3)
            hint = f" (did you mean {', '.join(near)}?)" if near else ""
            where = f"table {numbers[0]}" if len(numbers) == 1 else "any table"
            if len(presets) == 1:
                where += f" under --preset={presets[0]}"
            raise UserError(f"--cells: {word!r} matches no cell of {where}{hint}; --list shows all")
    return wanted


def fitting(wanted: Iterable[str], number: int, presets: Iterable[str] = PRESETS) -> list[str]:
    """The words that match a cell of a table; see `of_table`."""
    known = {word for cell in _every(number, presets) for word in _words(cell)}
    return [word for word in wanted if word.lower() in known]


def _every(number: int, presets: Iterable[str]) -> list[Cell]:
    table, presets = published.table(number), ("", *presets)
    return [
        Cell(number, row, column, preset, how)
        for row, how in ROWS[number].items()
        for column in table.columns
        for preset in how.presets
        if preset in presets
        if (row, column) in table.values or row not in table.rows
    ]


def _words(cell: Cell) -> set[str]:
    words = {cell.row, cell.column, cell.column.split("_")[-1], cell.column.split("_")[0], cell.name}
    return {word.lower() for word in (words | {cell.preset}) - {""}}


def config_of(cell: Cell, seed: int, budget: Budget, folders: dict[str, str]) -> ConfigDict:
    """The configuration that makes a cell.

    Args:
        cell: the cell.
        seed: seed of the run.
        budget: length of the run.
        folders: folders of data sets by the beginning of the column ('cifar10', 'cifar100', 'clothing1m').
    """
    config = _data(cell, budget.stand_in)
    config.data.dir = folders.get(cell.column.split("_")[0], config.data.dir)
    config.seed = seed
    how = cell.how
    if not budget.stand_in and how.encoder in ("simclr_resnet18", "simclr_resnet50"):
        config.pretrain.model = how.encoder.removeprefix("simclr_")
    if how.encoder == "moco_resnet18":
        if budget.stand_in:
            config.pretrain.update(method="moco", queue=1024, temperature=0.2)
        else:
            with_moco(config)
    # Rows without purified labels take only their estimate of the noise rate from the purifier.
    config.purify.preset = cell.preset or "default"
    for key, value in how.purify:
        config.purify[key] = value
    config.retrain.update(
        method=how.method or "naive", labels=how.labels, with_val=how.with_val, init=how.init
    )
    # The tables show the best epoch on the test set and the last one; none is picked on clean rows.
    config.retrain.select_share = 0.0
    config.retrain.update(dict(how.settings))
    if how.init == "encoder":
        config.retrain.model = config.pretrain.model
    if how.init == "frozen":
        config.retrain.update(model="linear", augment="none")
    budget.shorten(config)
    config.name = cell.name
    return config


def _data(cell: Cell, stand_in: bool) -> ConfigDict:
    data, _, setting = cell.column.partition("_")
    if data == "clothing1m":
        share = int(setting.removeprefix("share") or 100) / 100
        if stand_in:
            config = with_noise(default_config(), "asym", 40)
            config.val.size = max(10, round(30 * share))
            return config
        config = clothing1m_config()
        config.val.share = share
        return config
    kind, percent = "sym", 100
    if setting != "semi":
        kind = setting.rstrip("0123456789")
        percent = int(setting.removeprefix(kind))
    return with_noise(default_config() if stand_in else cifar_config(data), kind, percent)


def run_name(config: ConfigDict) -> str:
    """Name of the run's folder; cells that can use the same workdir share it.

    These are methods on the same data, encoder and purified labels, with equal common settings of `retrain`.
    """
    apart = {
        key: value
        for key, value in flatten(config)
        if not key.startswith(("retrain.", "recipes", "name", *_PLACES)) or key in _TOGETHER
    }
    where = config.data.name + "_" + config.noise.name
    return f"{where}-{zlib.crc32(repr(sorted(apart.items())).encode()):08x}"


def encoder_name(config: ConfigDict) -> str:
    """Name of the encoder's folder, shared by all runs with the same images and seed."""
    keys = {
        key: value
        for key, value in flatten(config)
        if key.startswith(("data.", "pretrain.", "seed")) and not key.startswith(_PLACES)
    }
    return f"{config.data.name}-{zlib.crc32(repr(sorted(keys.items())).encode()):08x}"


def cost(cell: Cell, budget: Budget) -> str:
    """The cost in words: epochs of pretraining, which cells share, and of retraining, with the networks."""
    config = apply_recipe(config_of(cell, 0, budget, {}))
    pretrain, retrain = config.pretrain, config.retrain
    model = "small_cnn" if budget.stand_in else None
    network = retrain.model if cell.how.init == "frozen" else model or retrain.model
    own = "a linear probe" if not cell.how.method else f"{retrain.epochs} epochs of {network}"
    return f"{own}, on features of {model or pretrain.model} after {pretrain.epochs} epochs"
