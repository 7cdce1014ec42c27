"""Writes the results of `dmlp-purify`: the corrected table, issues.csv, the report, arrays, the summary."""

import contextlib
import importlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dmlp_jax.cli import first_look, purified_table, risk, row_findings, summaries
from dmlp_jax.cli.first_look import FirstLook
from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.cli.inputs.reviewed_rows import Reviewed
from dmlp_jax.cli.rerun import Rerun
from dmlp_jax.data.types import Problem
from dmlp_jax.errors import UserError
from dmlp_jax.interop import issues
from dmlp_jax.purifier import Accepted, PurifyResult
from dmlp_jax.report.clean_rows import CleanRows
from dmlp_jax.report.contents import purified_arrays, purifier_arrays
from dmlp_jax.storage import addresses, files

# summary.json is written last: if it exists, the others do.
NAMES = ("purified.npz", "purifier.npz", "issues.csv", "purified.csv", "report.html", "summary.json")
# Of a .parquet table, in place of purified.csv.
PARQUET = "purified.parquet"
_ALL = (*NAMES[:-1], PARQUET, NAMES[-1])
# Prefix of the temporary folder inside OUT, from which complete files are moved into place.
_PREFIX = ".dmlp-purify."


def load_early() -> threading.Thread:
    """Loads what writes the results, Matplotlib and pandas above all, while something else waits for them.

    Returns:
        The thread that does so, which need not be waited for.
    """

    def load() -> None:
        for name in ("dmlp_jax.report.page", "pandas"):
            importlib.import_module(name)

    thread = threading.Thread(target=load)
    thread.start()
    return thread


def check_folder(folder: Path, overwrite: bool) -> None:
    """Checks that results can be written to the folder, before anything is computed; changes nothing.

    Raises:
        UserError: it is a file, cannot be written to, or holds earlier results and `overwrite` is False.
    """
    addresses.refuse_address(folder, "--out")
    made: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--out: {folder} is a file; name a folder")
        there = [name for name in _ALL if (folder / name).exists()]
        if there and not overwrite:
            raise UserError(f"--out: {folder} holds {', '.join(there)} already; name another, or --overwrite")
        for name in there:
            if (folder / name).is_dir():
                raise UserError(f"--out: {folder / name} is a folder, not a result; name another folder")
        made += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--out: cannot write to {folder}: {error.strerror}; choose a folder that you may write to"
        ) from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def written(folder: Path) -> list[str]:
    """The names of the results in the folder."""
    return [name for name in _ALL if (folder / name).exists()]


def write(
    folder: Path,
    rows: LabelledRows,
    result: PurifyResult | FirstLook,
    settings: dict[str, Any],
    seconds: dict[str, float],
    image_of: Callable[[int], np.ndarray | None] | None = None,
    reviewed: Reviewed | None = None,
    rerun: Rerun | None = None,
    accepted: Accepted | None = None,
) -> dict[str, Any]:
    """Writes all files or none: earlier results stay until the new files are complete.

    Args:
        folder: the folder, made if absent.
        rows: the noisy and clean rows.
        result: result of `purify`, as NumPy arrays; or of `first_look.look`, without clean rows.
        settings: the command's arguments, 'features', 'seed', 'preset', 'accept_risk', 'gallery',
            'report_megabytes' and 'map' among them.
        seconds: durations of the purification, 'compile' and 'run'.
        image_of: the picture of a row of the file, for the report.
        reviewed: decisions of reviews; `rows` then are the rows after them.
        rerun: the command that takes up the decisions of this run's report.
        accepted: the labels that are accepted at a risk.

    Returns:
        The contents of summary.json.

    Raises:
        UserError: the folder cannot be written to, or is full.
    """
    ids = None if rows.ids is None else rows.ids[rows.row_numbers]
    taken = None if accepted is None else np.asarray(accepted.rows)
    beside = row_findings.find(rows)
    found = issues(
        result,
        rows.labels,
        rows.class_names,
        index=rows.row_numbers,
        ids=ids,
        accepted=taken,
        more=row_findings.columns(beside),
    )
    contents = summaries.summarize(rows, result, settings, seconds)
    contents["rows_found"] = row_findings.summary(beside)
    contents["warnings"] = [*filter(None, [row_findings.warning(beside)]), *contents.get("warnings", ())]
    decided: dict[str, np.ndarray] = {}
    if accepted is not None:
        contents["accepted"] = risk.summary(rows, accepted, settings["accept_risk"])
        decided["accepted"] = np.asarray(accepted.rows)
    if rows.noise_rate is not None:
        known = rows.row_numbers if reviewed is None else np.append(rows.row_numbers, reviewed.row_numbers)
        decided["drawn_index"] = np.setdiff1d(np.arange(rows.file_rows), known)
    if reviewed is not None:
        contents["review"] = reviewed.counts
        if reviewed.conflicts:
            contents["warnings"].append(
                f"Decisions of reviews differ on {len(reviewed.conflicts):,} rows, which stay as they were; "
                "conflicts.csv has them."
            )
        decided |= {"reviewed_index": reviewed.row_numbers, "reviewed_labels": reviewed.labels}
    from dmlp_jax.report import page

    class_names = np.array(rows.class_names)
    purified = purified_arrays(result)
    arrays: dict[str, Any] = {} if isinstance(result, FirstLook) else purifier_arrays(result)
    report = {
        "gallery": settings["gallery"],
        "map": settings["map"],
        "megabytes": settings["report_megabytes"],
    }
    with _replacing(folder) as new:
        files.save_npz(
            new / "purified.npz",
            {**purified, "index": rows.row_numbers, "class_names": class_names, **decided},
        )
        files.save_npz(new / "purifier.npz", {**arrays, "class_names": class_names})
        files.save_text(new / "issues.csv", found.csv())
        if rows.file is not None:
            own = purified_table.table(rows)
            columns = purified_table.columns(rows, result, reviewed, decided.get("accepted"))
            own.write(new / (PARQUET if own.is_parquet else "purified.csv"), columns)
        page.write(
            new / "report.html",
            contents,
            ConfigDict({"report": report, "arguments": settings}),
            _problem(rows),
            first_look.proposals(result) if isinstance(result, FirstLook) else purified,
            arrays,
            curves={},
            row_index=rows.row_numbers,
            row_names=ids,
            image_of=None if image_of is None else lambda row: image_of(rows.row_numbers[row]),
            columns={name: _taken(values, rows.row_numbers) for name, values in _shown(rows).items()},
            clean=_clean_rows(rows, image_of),
            rerun=None if rerun is None else rerun.command,
            decisions_name="decisions.csv" if rerun is None else rerun.decisions,
        )
        files.save_json(new / "summary.json", contents)
    return contents


def _shown(rows: LabelledRows) -> dict[str, Any]:
    """Columns that the report shows, [file_rows] each: texts of raw rows, and those asked for."""
    texts = None if rows.file is None or rows.file.raw is None else rows.file.raw.texts
    return dict(rows.shown) if texts is None else {"text": texts.tolist(), **rows.shown}


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, whose files replace the old ones if the block ends without an error."""
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Temporary files of killed commands would take the space that the new files need.
        for left in folder.glob(f"{_PREFIX}*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=".tmp", dir=folder))
    try:
        yield new
        with files.writing(folder):
            _replace(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Moves the files of `new` into `folder`; if one cannot be moved, the old files are restored."""
    old = new / "old"
    old.mkdir()
    made = written(new)
    try:
        # summary.json is removed first and written last: a command killed in between leaves none.
        for name in reversed(_ALL):
            if (folder / name).exists():
                os.replace(folder / name, old / name)
        for name in made:
            os.replace(new / name, folder / name)
    except BaseException:
        for name in _ALL:
            if (old / name).exists():
                os.replace(old / name, folder / name)
            elif name in made and not (new / name).exists():
                (folder / name).unlink()
        raise


def _clean_rows(rows: LabelledRows, image_of: Callable[[int], np.ndarray | None] | None) -> CleanRows:
    """The clean rows for the report; those of other files have neither name nor picture there."""
    numbers = rows.val_numbers
    if numbers is None:
        return CleanRows(rows.val_features)

    def picture(row: int) -> np.ndarray | None:
        return None if image_of is None or numbers[row] < 0 else image_of(numbers[row])

    names = [f"row {number}" for number in numbers] if rows.ids is None else _taken(rows.ids, numbers)
    return CleanRows(
        rows.val_features,
        [name if number >= 0 else "" for name, number in zip(names, numbers, strict=True)],
        picture,
        {name: _taken(values, numbers) for name, values in _shown(rows).items()},
    )


def _taken(values: Any, numbers: np.ndarray) -> list[Any]:
    """The values of rows of the file; empty for rows of other files."""
    return [values[number] if number >= 0 else "" for number in numbers]


def _problem(rows: LabelledRows) -> Problem:
    return Problem(
        train_inputs=rows.features,
        given_labels=rows.labels,
        true_labels=rows.true_labels,
        val_inputs=rows.val_features,
        val_labels=rows.val_labels,
        val_given_labels=rows.val_given_labels,
        test_inputs=None,
        test_labels=None,
        class_names=rows.class_names,
    )
