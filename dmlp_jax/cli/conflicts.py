"""Shows the rows on which reviewers differ, and writes conflicts.csv, in which one of them settles it."""

import csv
import io
from pathlib import Path

from dmlp_jax.cli import suggestions
from dmlp_jax.cli.inputs.reviewed_rows import Reviewed
from dmlp_jax.storage import files

NAME = "conflicts.csv"
# Most rows that a message names; the file has all.
SHOWN = 5


def check_folder(folder: Path) -> None:
    """Raises a UserError if the folder holds such a table already, see `suggestions.check_folder`."""
    suggestions.check_folder(folder, NAME)


def described(reviewed: Reviewed) -> str:
    """The conflicts in sentences; empty if there are none."""
    if not reviewed.conflicts:
        return ""
    ids, count = reviewed.rows.ids, len(reviewed.conflicts)
    names = [
        str(conflict.row_number) if ids is None else repr(str(ids[conflict.row_number]))
        for conflict in reviewed.conflicts[:SHOWN]
    ]
    shown = [
        f"row {name}: {conflict.opinions}" for name, conflict in zip(names, reviewed.conflicts, strict=False)
    ]
    more = f"; and {count - SHOWN:,} more" if count > SHOWN else ""
    noun = "this row stays as it was" if count == 1 else "these rows stay as they were"
    rows = f"{count:,} row{'s' * (count > 1)}"
    return f"decisions on {rows} differ, so {noun}: {'; '.join(shown)}{more}"


def write(folder: Path, reviewed: Reviewed) -> str:
    """Writes the table whole or not at all, and says how to go on.

    It has a line for each conflict, with every opinion, and empty columns `decision` and `label`. `--apply`
    takes it back as the last file: what is filled in counts then, in place of the earlier decisions.

    Raises:
        UserError: the folder cannot be written to.
    """
    names, ids = reviewed.rows.class_names, reviewed.rows.ids
    columns = ["index", "given_label", "predicted_label", "opinions", "decision", "label", "settles", "run"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns if ids is None else ["id", *columns])
    for conflict in reviewed.conflicts:
        number, given, predicted, opinions = conflict
        line = [number, names[given], names[predicted], opinions, "", "", "yes", reviewed.run]
        writer.writerow(line if ids is None else [ids[number], *line])
    path = folder / NAME
    with files.writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    files.save_text(path, text.getvalue())
    return (
        f"{path} lists where decisions differ, {len(reviewed.conflicts):,} in all. Write the right class "
        f"of each into the column label, and add --apply {path} after the other files"
    )
