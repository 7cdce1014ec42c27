"""The cells of the paper's tables, and how each is configured."""

import itertools
import json

import pytest

from dmlp_jax.config import apply_recipe
from dmlp_jax.errors import UserError
from dmlp_jax.pipeline import check_settings, purify_settings
from dmlp_jax.pipeline.stage_settings import relevant_settings
from dmlp_jax.purifier import PurifyConfig
from dmlp_jax.reproduce import budgets, cells, curve_cells, published, runner, show
from dmlp_jax.reproduce.table_rows import ROWS

EVERY = [cell for number in published.TITLES for cell in cells.of_table(number)]


def test_numbers_are_the_papers():
    """Some of each table, copied by hand from the paper."""
    value = lambda number, row, column: published.table(number).values[row, column]  # noqa: E731
    assert value(1, "DMLP-DivideMix", "cifar10_sym90") == {"best": 94.3, "last": 94.0}
    assert value(1, "Cross-Entropy", "cifar100_sym80") == {"best": 19.9, "last": 8.8}
    assert value(2, "DMLP-Naive", "cifar10_asym40") == {"": 93.9}
    assert value(3, "DMLP-DivideMix", "clothing1m") == {"": 78.23}
    assert value(4, "DMLP-CDR", "cifar10_sym50") == {"best": 91.2, "last": 90.8}
    assert value(5, "EAC alone", "cifar10_sym90") == {"best": 67.4, "last": 66.5}
    assert value(6, "MSLC*", "cifar10_sym20") == {"best": 92.0, "last": 92.0}
    assert value(7, "DMLP-Naive", "clothing1m_share10") == {"": 75.5}
    assert value(8, "MoCo ResNet-18", "cifar10_sym90") == {"best": 90.4, "last": 90.0}
    assert value(9, "FixMatch", "cifar100_semi") == {"": 56.3}
    assert ("Joint-Optim", "cifar10_asym20") in published.table(2).values
    assert ("M-correction", "cifar10_asym20") not in published.table(2).values


@pytest.mark.parametrize("number", published.TITLES)
def test_rows_that_are_made_are_the_papers_but_for_the_announced_one_and_newer_ones(number):
    assert set(ROWS[number]) - set(published.table(number).rows) <= {"Classifier", "ProMix", "SSR", "SSR+"}


@pytest.mark.parametrize(
    "budget", [pytest.param(name, marks=[pytest.mark.slow] * (name == "short")) for name in budgets.BUDGETS]
)
def test_every_cell_has_a_configuration_that_the_pipeline_accepts(budget):
    seen = {}
    for cell in EVERY:
        config = cells.config_of(cell, 1, budgets.get(budget), {"cifar10": "here"})
        settings = json.dumps(config.to_dict(), sort_keys=True, default=str)
        if settings not in seen:
            assert check_settings.check(config)
        seen[settings] = cell
        if cell.column.startswith("cifar10_") and budget != "smoke":
            assert config.data.dir == "here"


def test_what_differs_has_a_folder_of_its_own_and_what_does_not_shares_one():
    full = budgets.get("full")
    one, both = {}, {}
    for cell in EVERY:
        config = cells.config_of(cell, 0, full, {})
        one.setdefault(cells.run_name(config), []).append(cell)
        both.setdefault(cells.encoder_name(config), []).append(cell)
    for shared in one.values():
        columns = {cell.column.removesuffix("_share100") for cell in shared}
        settings = {
            (c.preset or "default", c.how.encoder, c.how.with_val, c.how.init, c.how.purify) for c in shared
        }
        assert len(columns) == len(settings) == 1
    assert any(len({cell.table for cell in shared}) > 1 for shared in one.values())
    # CIFAR-10 with three encoders, CIFAR-100 with two, Clothing1M.
    assert len(both) == 6
    config = cells.config_of(EVERY[0], 0, full, {"cifar10": "elsewhere"})
    assert cells.run_name(config) == cells.run_name(cells.config_of(EVERY[0], 0, full, {}))


@pytest.mark.parametrize("budget", budgets.BUDGETS.values())
def test_the_labels_that_a_network_learns_from_are_those_of_the_method_s_own_row(budget):
    """`MLC*-DivideMix` and `MLC*` share a workdir, which refuses one method under two settings."""
    by_name = {cell.name: cell for cell in cells.of_table(6)}
    compared = 0
    for cell in by_name.values():
        if (first := runner.corrector(cell)) is None:
            continue
        alone = by_name[cell.name.replace("-DivideMix", "")]
        configs = [apply_recipe(cells.config_of(made, 0, budget, {})) for made in (first, alone)]
        assert len({cells.run_name(config) for config in configs}) == 1
        stage = f"retrain/{configs[0].retrain.method}"
        assert relevant_settings(stage, configs[0]) == relevant_settings(stage, configs[1])
        assert configs[0].retrain.labels == "given"
        compared += 1
    assert compared == 2 * 4


def test_cells_are_chosen_by_row_column_end_and_preset():
    names = {cell.name for cell in cells.of_table(5, ["sym80", "IPC alone/clothing1m/paper"])}
    rows, presets = ("EAC alone", "IPC and EAC"), ("paper", "default")
    expected = {f"{row}/cifar10_sym80/{preset}" for row, preset in itertools.product(rows, presets)}
    expected |= {"IPC alone/cifar10_sym80/paper"}
    assert names == expected | {"IPC alone/clothing1m/paper"}
    assert {cell.row for cell in cells.of_table(1, ["mlc"])} == {"MLC"}
    with pytest.raises(UserError, match="under --preset=default"):
        cells.of_table(5, ["IPC alone"], ["default"])


def test_all_clean_images_join_where_no_epoch_is_picked_on_them():
    held_out = {cells.config_of(cell, 0, budgets.get("full"), {}).retrain.select_share for cell in EVERY}
    assert held_out == {0.0}
    assert "All clean images join" in show.markdown(published.table(1), [], "")


@pytest.mark.parametrize(("number", "column", "epochs"), [(3, "clothing1m", 50), (2, "cifar10_asym40", 100)])
def test_the_paper_preset_runs_as_many_epochs_as_printed(number, column, epochs):
    config = {
        preset: cells.config_of(
            *cells.of_table(number, [f"DMLP-Naive/{column}/{preset}"]), 0, budgets.get("full"), {}
        ).purify
        for preset in ("paper", "default")
    }
    assert purify_settings.make(config["paper"]).steps == epochs
    assert purify_settings.make(config["default"]).steps == PurifyConfig().steps
    config["paper"].steps = 7
    assert purify_settings.make(config["paper"]).steps == 7


@pytest.mark.parametrize("number", published.TITLES)
def test_rows_on_purified_labels_are_made_under_both_presets_and_no_others_are(number):
    full = budgets.get("full")
    for row, how in ROWS[number].items():
        made = [cell for cell in cells.of_table(number) if cell.row == row]
        if how.labels != "purified":
            assert {cell.preset for cell in made} == {""}
        elif row != "IPC alone":
            assert {cell.preset for cell in made} == {"paper", "default"}
        for cell in made:
            assert cells.config_of(cell, 0, full, {}).purify.preset == (cell.preset or "default")


def test_ipc_alone_is_a_run_without_eac_and_of_the_paper_preset_only():
    alone = [cell for cell in cells.of_table(5) if cell.row == "IPC alone"]
    assert {cell.preset for cell in alone} == {"paper"}
    for cell in alone:
        settings = purify_settings.make(cells.config_of(cell, 0, budgets.get("full"), {}).purify)
        assert (settings.ipc, settings.eac) == (True, False)
    assert "'IPC alone' is made under the paper preset only" in show.markdown(published.table(5), [], "")


@pytest.mark.parametrize("number", curve_cells.FIGURES)
def test_every_line_of_a_figure_has_a_configuration_that_the_pipeline_accepts(number):
    figure, full = curve_cells.FIGURES[number], budgets.get("full")
    assert {name for panel in figure.panels for name in panel.lines} == set(figure.lines)
    stages = {}
    for cell in curve_cells.of_figure(number):
        config = check_settings.check(cells.config_of(cell, 0, full, {})).config
        config = check_settings.resolve(config, (32, 32, 3))
        stage = f"retrain/{cell.how.method}"
        place = cells.run_name(cells.config_of(cell, 0, full, {})), stage
        # Two lines of one folder and method are the same run.
        assert stages.setdefault(place, relevant_settings(stage, config)) == relevant_settings(stage, config)
        if cell.how.init == "frozen":
            assert (config.retrain.model, config.retrain.augment) == ("linear", "none")


def test_figure_2_fixes_mlc_after_seventy_epochs():
    (cell,) = [cell for cell in curve_cells.of_figure(2) if cell.name == "MLC, decoupled/cifar10_sym90"]
    retrain = apply_recipe(cells.config_of(cell, 0, budgets.get("full"), {})).retrain
    assert retrain.frozen_from * retrain.epochs == pytest.approx(70)
    assert retrain.linear_probe


@pytest.mark.parametrize("number", ROWS)
def test_no_two_rows_of_a_table_are_the_same_run(number):
    assert len(set(ROWS[number].values())) == len(ROWS[number])


def test_where_the_paper_does_not_say_which_epoch_ours_is_the_last():
    """The best epoch on the test set would flatter us."""
    (cell,) = every = cells.of_table(3, ["DMLP-DivideMix/clothing1m/paper"])
    result = {"best": 79.0, "last": 78.0, "labels": None, "epochs": 7}
    rows = show.lines(published.table(3), every, {cell.name: [result]}, {})
    (ours,) = [row for row in rows if row[0] == cell.row]
    assert ours[3:7] == ("last (paper: not said)", "78.2", "78.0", "-0.2")
    (other,) = [row for row in rows if row[0] == "DivideMix"]
    assert other[3:6] == ("not said", "74.8", "as published")
