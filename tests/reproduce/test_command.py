"""The paper's tables as a command: what is listed, run, kept and shown."""

import csv
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from dmlp_jax.data import datasets
from dmlp_jax.errors import UserError
from dmlp_jax.reproduce import __main__ as command
from dmlp_jax.reproduce import budgets, cells, curve_cells, curves, published, results, runner, show


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table=12", "--list"], "1 to 9"),
        (["--table=5", "--workdir=W", "--cells=symm80"], "sym80"),
        (["--table=5", "--workdir=W", "--budget=tiny"], "smoke"),
        (["--workdir=W"], "--table"),
        (["--figure=3", "--workdir=W"], "figures 2, 4"),
        (["--figure=2", "--workdir=W", "--cells=sym50"], "--figure takes neither --cells"),
        (["--figure=2", "--list", "--cells=sym50"], "--figure takes neither --cells"),
        (["--figure=9", "--list"], "figures 2, 4"),
        (["--figure=2", "--table=2", "--list"], "not both"),
        (["--list", "--cells=sym80,symm90"], "'symm90' matches no cell of any table (did you mean sym90, "),
        (["--list", "--table=2", "--cells=sym80"], "'sym80' matches no cell of table 2"),
        (["--table=5"], "--workdir"),
        (["--table=5", "--workdir=W", "--seeds=0"], "at least 1"),
        (["--table=5", "--list", "--preset=papers"], "paper, default and both"),
        (
            ["--table=5", "--list", "--preset=default", "--cells=IPC alone"],
            "no cell of table 5 under --preset",
        ),
    ],
)
def test_mistakes_are_named(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_list_shows_every_cell_and_what_it_costs(capsys):
    assert command.main(["--list", "--table=9"]) == 0
    printed = capsys.readouterr().out
    for cell in cells.of_table(9):
        assert cell.name in printed
    assert "resnet50 after 1000 epochs" in printed


@pytest.mark.parametrize("what", ["--table=2", "--figure=4"])
def test_one_preset_leaves_the_other_s_rows_out(what, capsys):
    shown = {}
    for preset in ("paper", "default", "both"):
        assert command.main(["--list", what, f"--preset={preset}"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
        shown[preset] = {line.split(": ")[0].strip() for line in lines}
    assert shown["paper"] | shown["default"] == shown["both"]
    assert {name for name in shown["both"] if name.startswith("DMLP")} == {
        name for preset in ("paper", "default") for name in shown[preset] if name.endswith(f"/{preset}")
    }
    assert {name for name in shown["both"] if not name.startswith("DMLP")} == shown["paper"] & shown[
        "default"
    ]


def test_list_skips_tables_without_such_cells(capsys):
    assert command.main(["--list", "--cells=sym80,clothing1m"]) == 0
    printed = capsys.readouterr().out
    for number in published.TITLES:
        assert (f"Table {number}:" in printed) == (number not in (2, 9))
    shown = [line.split(": ")[0].strip() for line in printed.splitlines() if line.startswith("  ")]
    every = [cell for number in published.TITLES for cell in cells.of_table(number)]
    assert shown == [cell.name for cell in every if "_sym80" in cell.column or "clothing1m" in cell.column]


@pytest.mark.parametrize("number", curve_cells.FIGURES)
def test_list_shows_the_lines_of_a_figure(number, capsys):
    assert command.main(["--list", f"--figure={number}"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"Figure {number}: {curve_cells.FIGURES[number].title}"
    every = curve_cells.of_figure(number)
    # The purifier's line is there under both presets.
    figure = curve_cells.FIGURES[number]
    assert len(every) == len(figure.columns) * (len(figure.lines) + 1)
    for cell, line in zip(every, printed[1:], strict=True):
        assert line.startswith(f"  {cell.name}: ")
        assert ("the purifier, on features of" in line) == ("DMLP" in cell.name)


def test_a_reader_that_goes_away_ends_the_command_quietly():
    read, write = os.pipe()
    os.close(read)
    command_line = [sys.executable, "-m", "dmlp_jax.reproduce", "--list"]
    found = subprocess.run(command_line, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (found.returncode, found.stderr) == (141, b"")


def test_missing_data_are_looked_for_and_said_once(tmp_path, capsys, monkeypatch):
    looked = []
    monkeypatch.setattr(
        datasets,
        "load",
        lambda data, *rest, load=datasets.load: looked.append(data.name) or load(data, *rest),
    )
    arguments = ["--table=1", "--cells=sym80", f"--workdir={tmp_path / 'w'}", f"--data-dir={tmp_path}"]
    assert command.main(arguments) == 1
    printed = capsys.readouterr()
    assert sorted(looked) == ["cifar10", "cifar100"]
    for name, other in (("cifar10", "cifar-10-binary"), ("cifar100", "cifar-100-binary")):
        assert (printed.out + printed.err).count(f"no copy of {name} in") == 1
        (said,) = [part for part in printed.err.split("error: ") if f"{other}.tar.gz" in part]
        needing = [cell.name for cell in cells.of_table(1, ["sym80"]) if cell.column == f"{name}_sym80"]
        assert said.splitlines()[-1] == f"without these data: {', '.join(needing)}"
    every = cells.of_table(1, ["sym80"])
    assert f"{len(every)} of {len(every)} cells failed" in printed.err


def result_of(value):
    return {"best": value, "last": value, "labels": None, "epochs": 1}


def test_two_calls_on_one_table_keep_each_other_s_results(tmp_path, monkeypatch):
    """The second begins and ends while the first is at its only cell."""
    first, second = "EAC alone/cifar10_sym80/paper", "IPC alone/cifar10_sym80/paper"
    run = []

    def call(name):
        return command.main(["--table=5", f"--cells={name}", f"--workdir={tmp_path}", "--budget=smoke"])

    def pretended(cell, *_):
        run.append(cell.name)
        if cell.name == first:
            assert call(second) == 0
        return result_of(50.0 + len(run))

    monkeypatch.setattr(runner, "run", pretended)
    assert call(first) == 0
    kept = json.loads((tmp_path / "smoke/table5.json").read_text())
    assert kept == {second: {"0": result_of(52.0)}, first: {"0": result_of(52.0)}}
    shown = (tmp_path / "smoke/table5.csv").read_text()
    assert shown.count(",52.0,") == 4
    assert call(second) == 0
    assert run == [first, second]


def test_results_that_are_added_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "w" / "table5.json"

    def add(writer):
        for seed in range(15):
            results.add(path, f"cell {writer}", seed, result_of(float(seed)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    found = results.load(path)
    expected = {str(seed): result_of(float(seed)) for seed in range(15)}
    assert found == {f"cell {writer}": expected for writer in range(4)}


def test_missing_data_say_what_to_download(tmp_path, capsys):
    arguments = ["--table=8", "--cells=MoCo ResNet-18/cifar10_sym90/default", f"--workdir={tmp_path / 'w'}"]
    assert command.main([*arguments, f"--data-dir={tmp_path}"]) == 1
    printed = capsys.readouterr()
    assert "cifar-10-binary.tar.gz" in printed.err
    assert "failed" in (tmp_path / "w/full/table8.md").read_text()


def test_ours_stand_beside_the_papers():
    table = published.table(5)
    every = cells.of_table(5, ["sym80"])
    results = [
        {"best": 90.0, "last": 88.0, "labels": 91.0, "epochs": 7},
        {"best": 92.0, "last": 89.0, "labels": 93.0, "epochs": 7},
    ]
    found = {"EAC alone/cifar10_sym80/paper": results}
    rows = show.lines(table, every, found, {"IPC alone/cifar10_sym80/paper": "no data"})
    by_key = {row[:4]: row[4:] for row in rows}
    best = by_key["EAC alone", "cifar10_sym80", "paper", "best"]
    assert best == ("91.1", "91.0", "-0.1", "2", "1.4", "92.0", "7")
    assert by_key["IPC alone", "cifar10_sym80", "paper", "last"][1] == "failed"
    assert by_key["IPC and EAC", "cifar10_sym80", "default", "last"][1] == "not run"
    assert {row[:3] for row in show.only(rows, every[:1])} == {("EAC alone", "cifar10_sym80", "paper")}
    digits = show.lines(table, every, found, {}, stand_in=True)
    assert ("EAC alone", "cifar10_sym80", "paper", "best", *best[:2], "", *best[3:]) in digits
    assert by_key["EAC alone", "cifar10_sym20", "", "best"] == ("93.7", "as published", "", "", "", "", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (1, "Classifier/cifar10_sym80"),
        pytest.param(2, "GCE/cifar10_asym40", marks=pytest.mark.exhaustive),
        (3, "DMLP-DivideMix/clothing1m/default"),
        pytest.param(4, "DMLP-CDR/cifar10_sym80/paper", marks=pytest.mark.exhaustive),
        (5, "IPC alone/cifar10_sym80/paper"),
        (6, "MLC*-DivideMix/cifar10_sym80"),
        pytest.param(6, "MLC*/cifar10_sym80", marks=pytest.mark.exhaustive),
        (7, "DMLP-Naive/clothing1m_share10/paper"),
        pytest.param(8, "MoCo ResNet-18/cifar10_sym80/default", marks=pytest.mark.exhaustive),
        (9, "MixMatch/cifar10_semi"),
    ],
)
def test_a_small_cell_of_every_table_is_made_and_kept(number, wanted, tmp_path_factory, capsys):
    workdir = tmp_path_factory.getbasetemp() / "reproduce"
    arguments = [f"--table={number}", f"--cells={wanted}", f"--workdir={workdir}", "--budget=smoke"]
    assert command.main(arguments) == 0
    kept = json.loads((workdir / f"smoke/table{number}.json").read_text())
    chosen = cells.of_table(number, [wanted])
    for cell in chosen:
        (result,) = kept[cell.name].values()
        # Digits are learned to well above chance even in four epochs.
        assert 20 < result["best"] <= 100
        assert result["last"] <= result["best"]
        retrained = bool(cell.how.method) and cell.column != "cifar10_semi"
        assert (result["labels"] is not None) == retrained
        if retrained:
            assert 10 < result["labels"] <= 100
        if "MLC" in cell.row:
            # Of what MLC made of them, not of the given labels.
            corrected = [
                100 * json.loads(path.read_text())["label_accuracy"]
                for path in (workdir / "smoke/runs").glob("*/seed0/retrain/mlc-given/result.json")
            ]
            assert any(value == pytest.approx(result["labels"]) for value in corrected)
    capsys.readouterr()
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "seed 0" not in printed
    assert chosen[0].row in printed


@pytest.mark.slow
def test_curves_of_a_figure_are_drawn_and_written(tmp_path_factory):
    workdir = tmp_path_factory.getbasetemp() / "reproduce"
    assert command.main(["--figure=4", f"--workdir={workdir}", "--budget=smoke"]) == 0
    lines = (workdir / "smoke/figure4.csv").read_text().splitlines()[1:]
    found = {tuple(line[:2]) for line in csv.reader(lines)}
    assert {line[2] for line in csv.reader(lines)} == {"label_accuracy"}
    lines_of_each = ("MLC", "MSLC", "DMLP, paper preset", "DMLP, default preset")
    assert found == set(itertools.product(("cifar10_sym20", "cifar10_sym80"), lines_of_each))
    assert all(0 <= float(line.rsplit(",", 1)[1]) <= 1 for line in lines)
    with Image.open(workdir / "smoke/figure4.png") as image:
        assert min(image.size) > 400


def test_each_panel_of_a_figure_is_written_and_drawn_from_its_own_quantity(tmp_path, monkeypatch):
    """The runs are pretended: each quantity of each has values of its own."""
    known = {}

    def pretended(cell, *_):
        purifies = curve_cells.purifies(cell)
        names = ["label_accuracy"] if purifies else ["label_accuracy", "probe_accuracy", "test_accuracy"]
        start = len(known) / 100
        found = {name: [start, start + (place + 1) / 1000] for place, name in enumerate(names)}
        known[cell.column, curve_cells.label(cell)] = found
        return {"probe_accuracy": [], "test_accuracy": []} | found

    monkeypatch.setattr(curves, "_curves", pretended)
    full = budgets.get("full")
    picture = curves.make(2, ("paper",), 0, full, tmp_path, {}, lambda: False)
    with picture.with_suffix(".csv").open() as file:
        header, *lines = csv.reader(file)
    assert header == ["setting", "line", "quantity", "share of the steps", "value"]
    figure = curve_cells.FIGURES[2]
    expected = 2 * sum(len(panel.lines) for panel in figure.panels) * len(figure.columns)
    assert len(lines) == expected
    for column, line, quantity, share, value in lines:
        values = known[column, line][quantity]
        assert float(value) == pytest.approx(values[int(2 * float(share)) - 1], abs=1e-4)
    with Image.open(picture) as image:
        width, height = image.size
    assert height > width  # Three rows of two panels.


@pytest.mark.slow
@pytest.mark.exhaustive
def test_figure_2_has_its_three_panels(tmp_path_factory):
    workdir = tmp_path_factory.getbasetemp() / "reproduce"
    arguments = ["--figure=2", "--preset=default", f"--workdir={workdir}", "--budget=smoke"]
    assert command.main(arguments) == 0
    with (workdir / "smoke/figure2.csv").open() as file:
        lines = list(csv.reader(file))[1:]
    figure = curve_cells.FIGURES[2]
    for panel in figure.panels:
        found = {
            (line[0], line[1].removesuffix(", default preset")) for line in lines if line[2] == panel.quantity
        }
        assert found == set(itertools.product(figure.columns, panel.lines))
    values = {tuple(line[:3]): [] for line in lines}
    for line in lines:
        values[tuple(line[:3])].append(float(line[4]))
    for column in figure.columns:
        # Of four epochs the weights are fixed after two, and with them whatever is measured of the network.
        probed = values[column, "MLC, decoupled", "probe_accuracy"]
        assert len(probed) == 4
        assert probed[1] == probed[2] == probed[3]
        labels = values[column, "MLC, decoupled", "label_accuracy"]
        assert labels[0] == labels[1] != labels[2]


def test_foreign_records_are_refused(tmp_path, capsys):
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke/table5.json").write_text("{ torn")
    arguments = ["--table=5", f"--workdir={tmp_path}", "--budget=smoke", "--cells=sym80"]
    assert command.main(arguments) == 2
    assert "table5.json" in capsys.readouterr().err
    with pytest.raises(UserError):
        cells.of_table(10)
