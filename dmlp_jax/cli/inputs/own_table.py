"""Reads a table as it is, every cell unchanged, and writes it again with more columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmlp_jax.cli.inputs import table_frames
from dmlp_jax.errors import UserError, nearest
from dmlp_jax.storage import files


class OwnTable(NamedTuple):
    """A user's table.

    Attributes:
        path: its file.
        frame: a pandas frame of texts; a pyarrow table of .parquet files, whose types are kept.
        separator: of the columns in a file of text.
    """

    path: Path
    frame: Any
    separator: str = ","

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(map(str, self.frame.column_names if self.is_parquet else self.frame.columns))

    @property
    def is_parquet(self) -> bool:
        """Whether it came from a .parquet file."""
        return table_frames.is_parquet(self.path)

    def texts(self, column: str, what: str) -> np.ndarray:
        """A column as strings [n], '' where a cell is empty.

        Args:
            column: its name.
            what: what it should hold, for the message.

        Raises:
            UserError: there is no such column, or it holds something else than texts and numbers.
        """
        if column not in self.names:
            raise UserError(
                f"{self.path} has no column {column!r} for {what}{nearest(column, self.names)}; it has "
                + ", ".join(map(repr, self.names[:8]))
                + (", ..." if len(self.names) > 8 else "")
            )
        values = self.frame.column(column).to_pylist() if self.is_parquet else self.frame[column].tolist()
        for row, value in enumerate(values):
            if isinstance(value, (list, dict, bytes)):
                raise UserError(
                    f"column {column!r} of {self.path} holds {type(value).__name__} in row {row}, which is "
                    f"no text; name another column for {what}"
                )
        return np.array(["" if value is None else str(value) for value in values], dtype=object)

    def write(self, path: Path, columns: Mapping[str, np.ndarray]) -> None:
        """Writes the table with more columns, which replace those of their names from an earlier run.

        A table of text is written with commas.

        Args:
            path: the new file, of the same kind.
            columns: [n] each; NaN and None are written as empty cells.
        """
        if self.is_parquet:
            _write_parquet(path, self.frame, columns)
        else:
            frame = self.frame.drop(columns=[name for name in columns if name in self.frame])
            # The file is called .csv.
            separator = "," if self.separator == "\t" else self.separator
            _write_text(path, frame.assign(**_cells(columns)), separator)


def read(path: Path) -> OwnTable:
    """Reads a table.

    Raises:
        UserError: it cannot be read, has no rows, or pyarrow, which .parquet needs, is not installed.
    """
    if table_frames.is_parquet(path):
        frame, separator = _read_parquet(path), ","
        count = frame.num_rows
    else:
        # Not parsed: '007' and '1.50' go into the corrected table as they came.
        frame, separator = table_frames.read_cells(path)
        count = len(frame)
    if not count:
        raise UserError(f"{path} has no rows")
    return OwnTable(path, frame, separator)


def _read_parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet

        return parquet.read_table(path)
    except ImportError as error:
        raise UserError(
            f"{path}: parquet needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a table ({reason})") from error


def from_columns(columns: Mapping[str, Any]) -> OwnTable:
    """A table for rows that came in another form, such as .npy files or images; written as .csv."""
    import pandas

    # As objects: pandas' strings cannot hold names that are no Unicode.
    return OwnTable(Path("rows.csv"), pandas.DataFrame(dict(columns), dtype=object))


def _cells(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import pandas

    return {
        name: pandas.Series([_cell(value) for value in values.tolist()], dtype=object)
        for name, values in columns.items()
    }


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _write_text(path: Path, frame: Any, separator: str) -> None:
    files.save_text(path, frame.to_csv(index=False, sep=separator, lineterminator="\n"))


def _write_parquet(path: Path, table: Any, columns: Mapping[str, np.ndarray]) -> None:
    import pyarrow
    from pyarrow import parquet

    table = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        cells = [None if value is None or value != value else value for value in values.tolist()]
        table = table.append_column(name, pyarrow.array(cells))
    with files.atomic_writer(path) as file:
        parquet.write_table(table, file)
