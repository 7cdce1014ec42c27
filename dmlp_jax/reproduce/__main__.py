"""Reproduces a table or figure of the paper: `python -m dmlp_jax.reproduce --table=5 --workdir=W`.

Results stand beside the published numbers. Finished cells are not run again; a killed call resumes.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dmlp_jax.errors import UserError
from dmlp_jax.reproduce import budgets, cells, curve_cells, published, show, table_rows
from dmlp_jax.runtime import console, interrupts
from dmlp_jax.storage import addresses, files

# The exit status after SIGTERM, as in dmlp_jax.main.
RETRY = 75
_INTERRUPTED = "error: interrupted; the same command resumes"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser("python -m dmlp_jax.reproduce", description=__doc__.splitlines()[0])
    found.add_argument("--table", type=int, help="number of the paper's table, 1 to 9")
    found.add_argument("--figure", type=int, help="instead: number of a figure with curves, 2 or 4")
    found.add_argument("--workdir", type=Path, help="folder of all runs and results; the same folder resumes")
    found.add_argument(
        "--cells", default="", help="only these rows, columns or ends of columns, comma-separated"
    )
    found.add_argument(
        "--preset",
        default="both",
        help="of the purifier: paper, default or both; rows on purified labels only",
    )
    found.add_argument("--seeds", type=int, default=1, help="runs of each cell, seeds 0, 1, ...")
    found.add_argument("--budget", default="full", help="full, short or smoke; see --list")
    found.add_argument("--data-dir", default="data", help="folder of CIFAR-10 and -100")
    found.add_argument("--clothing1m-dir", default="data/clothing1m", help="folder of Clothing1M")
    found.add_argument("--list", action="store_true", help="list the cells and their cost, run nothing")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    console.accept_any_text()
    arguments = parser().parse_args(argv)
    return console.until_closed(lambda: _main(arguments))


def _main(arguments: argparse.Namespace) -> int:
    try:
        budget = budgets.get(arguments.budget)
        wanted = [word.strip() for word in arguments.cells.split(",") if word.strip()]
        if arguments.preset not in (*table_rows.PRESETS, "both"):
            raise UserError(
                f"--preset={arguments.preset}: there are {', '.join(table_rows.PRESETS)} and both"
            )
        if arguments.seeds < 1:
            raise UserError(f"--seeds is {arguments.seeds}; it must be at least 1")
        if arguments.figure is not None and (wanted or arguments.seeds != 1):
            raise UserError("--figure takes neither --cells nor more than one of --seeds; leave them out")
        if arguments.table is not None and arguments.figure is not None:
            raise UserError("name a --table or a --figure, not both")
        if arguments.list:
            _list(arguments, wanted, budget)
            return 0
        if (arguments.table is None and arguments.figure is None) or arguments.workdir is None:
            raise UserError(
                "name a --table, 1 to 9, or a --figure, 2 or 4, and a --workdir; --list shows the cells"
            )
        return _make(arguments, wanted, budget)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        return interrupts.INTERRUPTED


def _presets(arguments: argparse.Namespace) -> tuple[str, ...]:
    return table_rows.PRESETS if arguments.preset == "both" else (arguments.preset,)


def _list(arguments: argparse.Namespace, wanted: list[str], budget: budgets.Budget) -> None:
    if arguments.figure is not None:
        print(f"Figure {arguments.figure}: {curve_cells.get(arguments.figure).title}")
        for cell in curve_cells.of_figure(arguments.figure, _presets(arguments)):
            print(f"  {cell.name}: {curve_cells.cost(cell, budget)}")
        return
    tables = list(published.TITLES) if arguments.table is None else [arguments.table]
    presets = _presets(arguments)
    cells.check_words(wanted, tables, presets)
    print(f"note: {table_rows.CLEAN_IMAGES}")
    for number in tables:
        here = cells.fitting(wanted, number, presets)
        if here or not wanted:
            _list_table(number, here, presets, budget)


def _list_table(number: int, wanted: list[str], presets: tuple[str, ...], budget: budgets.Budget) -> None:
    table = published.table(number)
    print(f"Table {number}: {published.TITLES[number]}")
    if number in table_rows.NOTES:
        print(f"note: {table_rows.NOTES[number]}")
    for cell in cells.of_table(number, wanted, presets):
        print(f"  {cell.name}: {cells.cost(cell, budget)}")
    made = {cell.row for cell in cells.of_table(number)}
    if not wanted and (rest := [row for row in table.rows if row not in made]):
        print(f"  as published only: {', '.join(rest)}")


def _folders(arguments: argparse.Namespace) -> dict[str, str]:
    return {
        "cifar10": arguments.data_dir,
        "cifar100": arguments.data_dir,
        "clothing1m": arguments.clothing1m_dir,
    }


def _make(arguments: argparse.Namespace, wanted: list[str], budget: budgets.Budget) -> int:
    # Imported late, so that --list and errors in arguments do not wait for jax.
    from dmlp_jax.training.session import Stopped

    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    try:
        if arguments.figure is not None:
            return _draw(arguments, budget, terminated.is_set)
        return _run(arguments, wanted, budget, terminated.is_set)
    except Stopped:
        print("error: terminated; the same command resumes", file=sys.stderr)
        return RETRY


def _root(arguments: argparse.Namespace) -> Path:
    """The folder of a budget."""
    addresses.refuse_address(arguments.workdir, "--workdir")
    return arguments.workdir / arguments.budget


def _draw(arguments: argparse.Namespace, budget: budgets.Budget, stop: Callable[[], bool]) -> int:
    from dmlp_jax.purifier import InputError
    from dmlp_jax.reproduce import curves

    root = _root(arguments)
    try:
        picture = curves.make(
            arguments.figure, _presets(arguments), 0, budget, root, _folders(arguments), stop
        )
    except InputError as error:
        raise UserError(str(error)) from error
    print(f"\nBudget {arguments.budget}: {budget.about}. {picture} and {picture.with_suffix('.csv')}")
    return 0


def _run(
    arguments: argparse.Namespace, wanted: list[str], budget: budgets.Budget, stop: Callable[[], bool]
) -> int:
    from dmlp_jax.purifier import InputError
    from dmlp_jax.reproduce import results, runner

    table, every = published.table(arguments.table), cells.of_table(arguments.table)
    chosen = cells.of_table(arguments.table, wanted, _presets(arguments))
    folders = _folders(arguments)
    root = _root(arguments)
    kept = root / f"table{arguments.table}.json"
    known = results.load(kept)
    missing = [
        cell
        for cell in chosen
        if any(str(seed) not in known.get(cell.name, {}) for seed in range(arguments.seeds))
    ]
    failed: dict[str, str] = {}
    for reason, needing in runner.missing_data(missing, budget, folders):
        failed |= {cell.name: reason for cell in needing}
        print(f"error: {reason}\nwithout these data: {_names(needing)}", file=sys.stderr, flush=True)
    for cell in missing:
        for seed in range(arguments.seeds):
            # Read again, because another call may have finished the cell meanwhile.
            if cell.name in failed or str(seed) in results.load(kept).get(cell.name, {}):
                continue
            print(f"\n{cell.name}, seed {seed}", flush=True)
            try:
                result = runner.run(cell, seed, budget, root, folders, stop)
            except (UserError, InputError) as error:
                failed[cell.name] = str(error)
                print(f"failed: {cell.name}: {error}", file=sys.stderr, flush=True)
                continue
            results.add(kept, cell.name, seed, result)
    about = f"Budget {arguments.budget}: {budget.about}."
    with results.alone(kept):
        found = {name: list(by_seed.values()) for name, by_seed in results.load(kept).items()}
        rows = show.lines(table, every, found, failed, budget.stand_in)
        files.save_text(root / f"table{arguments.table}.md", show.markdown(table, rows, about))
        files.save_text(root / f"table{arguments.table}.csv", show.as_csv(rows))
    print("\n" + show.plain(rows if len(chosen) == len(every) else show.only(rows, chosen)))
    print(f"\n{about} Also in {root / f'table{arguments.table}.md'} and .csv")
    if failed:
        print(f"error: {len(failed)} of {len(chosen)} cells failed, see above", file=sys.stderr)
    return 1 if failed else 0


def _names(chosen: Sequence[cells.Cell]) -> str:
    return ", ".join(cell.name for cell in chosen)


if __name__ == "__main__":
    interrupts.end_promptly(_INTERRUPTED)
    ended = main()
    if ended == interrupts.INTERRUPTED:
        interrupts.end(ended)
    sys.exit(ended)
