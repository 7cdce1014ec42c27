"""Writes review.csv, the table of `dmlp-purify --suggest`: the rows to review next, or first."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.cli.inputs.labelled_rows import LabelledRows
from dmlp_jax.errors import UserError
from dmlp_jax.purifier import PurifyResult
from dmlp_jax.report import decisions
from dmlp_jax.storage import files

NAME = "review.csv"
# Keeps the draw apart from the others that are made from the same seed.
STREAM = 2


def check_folder(folder: Path, name: str = NAME) -> None:
    """Checks that no table of this name is in the folder, which may hold what a reviewer wrote.

    Raises:
        UserError: there is one; --overwrite does not replace it.
    """
    if (folder / name).exists():
        raise UserError(
            f"--out: {folder / name} is there already and may hold decisions, so it is not replaced; name "
            "another folder"
        )


def check_count(rows: LabelledRows, count: int) -> None:
    """Checks that so many rows can be suggested and one is left to purify.

    Raises:
        UserError: there are too few.
    """
    if count >= len(rows.labels):
        raise UserError(
            f"--suggest: {count:,} rows, but only {len(rows.labels):,} are not reviewed, and some of "
            "them must be left to purify; ask for fewer"
        )


def lacks_class(rows: LabelledRows) -> bool:
    """Whether a class has no clean row, so that nothing can be purified yet."""
    return len(np.unique(rows.val_labels)) < len(rows.class_names)


def write(
    folder: Path,
    rows: LabelledRows,
    count: int,
    seed: int,
    result: PurifyResult | None = None,
    shown: Mapping[str, Sequence[Any]] | None = None,
) -> str:
    """Writes the table whole or not at all, and says how to go on.

    Its columns are id (if rows have names), those of `shown`, and those that `decisions.read` takes. The last
    but one, `decision` and `label`, are empty for the reviewer. Rows drawn at random come first: who stops
    early has decided on these.

    Args:
        folder: the folder of the results, made if absent.
        rows: the noisy rows, and the clean ones that there are.
        count: number of rows to suggest; one row at least must be left to purify.
        seed: of the draw.
        result: of `purify` on `rows`; None where clean rows are missing, for a first table.
        shown: columns that help the reviewer, by name, such as a text or the name of a picture: a value for
            every row of the file.

    Returns:
        Sentences for the user.

    Raises:
        UserError: there are not so many rows, or the folder cannot be written to.
    """
    import jax

    from dmlp_jax.purifier import suggest

    check_count(rows, count)
    # Every table of a file of rows has its own draw.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), STREAM), len(rows.val_labels))
    if result is None:
        chosen = suggest(None, count, labels=rows.labels, num_classes=len(rows.class_names), key=key)
    else:
        chosen = suggest(result, count, key=key)
    columns = _columns(rows, np.asarray(chosen.rows), chosen.reasons, result, shown or {})
    path = folder / NAME
    with files.writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    files.save_text(path, _csv(columns))
    return _how_to_go_on(path, count, int(np.sum(chosen.random)), result is None)


def _columns(
    rows: LabelledRows,
    places: np.ndarray,
    reasons: Sequence[str],
    result: PurifyResult | None,
    shown: Mapping[str, Sequence[Any]],
) -> dict[str, list[Any]]:
    """The columns of the table by name, in their order; `places` [k] are positions among the noisy rows."""
    names = np.array(rows.class_names)
    index = rows.row_numbers[places]
    data = decisions.fingerprint(rows.labels, rows.class_names, rows.row_numbers)
    empty = [""] * len(places)
    proposals, confidence, run = empty, empty, data
    if result is not None:
        purified = np.asarray(result.labels)
        proposals = names[purified[places]].tolist()
        confidence = [f"{value:.6f}" for value in np.asarray(result.confidence)[places]]
        run = decisions.run_fingerprint(data, purified)
    ids = {} if rows.ids is None else {"id": rows.ids[index].tolist()}
    return {
        **ids,
        "index": index.tolist(),
        **{name: [values[row] for row in index] for name, values in shown.items()},
        "given_label": names[rows.labels[places]].tolist(),
        "predicted_label": proposals,
        "confidence": confidence,
        "picked": list(reasons),
        "decision": empty,
        "label": empty,
        "run": [run] * len(places),
    }


def _csv(columns: Mapping[str, Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue()


def _how_to_go_on(path: Path, count: int, drawn: int, first: bool) -> str:
    ways = "" if first else ", or accept (the predicted label) or reject (the given one) into decision"
    why = "clean rows of every class are needed first: " if first else ""
    return (
        f"{why}{path} has {count:,} rows to review, {drawn:,} of them drawn at random. Write the right class "
        f"of each into the column label{ways}. Then repeat this command with --apply {path} and another --out"
    )
