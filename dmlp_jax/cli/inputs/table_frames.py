"""Opens table files as pandas frames, whatever their separator, decimal mark, compression or case of suffix.

What a file of text is separated by is decided by its first lines, not by its name: spreadsheets of most of
Europe write semicolons and decimal commas into files that are called .csv.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dmlp_jax.errors import UserError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
# Kinds of tables in messages.
SUFFIXES = (".csv", ".tsv", ".parquet")
# Formats that people have tables in, and what to do with them.
_OTHERS = {
    ".xlsx": "save it as CSV in UTF-8 from the spreadsheet",
    ".xls": "save it as CSV in UTF-8 from the spreadsheet",
    ".ods": "save it as CSV in UTF-8 from the spreadsheet",
    ".jsonl": "write it as .parquet, such as with pandas.read_json(FILE, lines=True).to_parquet(...)",
    ".feather": "write it as .parquet, such as with pandas.read_feather(FILE).to_parquet(...)",
    ".pkl": "write it as .parquet; pickles can run code and are not read",
    ".pt": "write it as .npy, such as with numpy.save(FILE, tensor.numpy())",
}
# Texts that count as missing numbers. Labels and ids may be called 'NA' or 'None'.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "null", "NULL", "None", "#N/A", "<NA>")
# Records and characters from which the separator and the decimal mark are guessed.
_RECORDS, _CHARACTERS = 200, 2**20
_COMMA_DECIMAL = re.compile(r"[-+]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")


class Dialect(NamedTuple):
    """How a table of text is written.

    Attributes:
        separator: between cells.
        decimal: mark of decimals, '.' or ','.
        thousands: mark between thousands, or None.
        trailing: whether every line but the first ends in a separator more.
        skipped: number of lines before that of the names.
        encoding: 'utf-8' or 'utf-16'.
    """

    separator: str
    decimal: str
    thousands: str | None
    trailing: bool
    skipped: int
    encoding: str


def suffix(path: Path) -> str:
    """The suffix that tells the kind of a file, in lower case; that of a compressed table without '.gz'."""
    last = path.suffix.lower()
    if last in _COMPRESSED and Path(path.stem).suffix.lower() in SEPARATORS:
        return Path(path.stem).suffix.lower()
    return last


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return suffix(path) in SEPARATORS or suffix(path) in _PARQUET


def is_parquet(path: Path) -> bool:
    """Whether a file is a table of Apache Parquet, by its name."""
    return suffix(path) in _PARQUET


def remedy(path: Path) -> str:
    """What to do with a file of another kind, as the end of a message; empty if nothing is known of it."""
    found = _OTHERS.get(suffix(path))
    return f"; {found}" if found else ""


def read(path: Path, texts: tuple[str | None, ...]) -> Any:
    """Reads a table as a pandas frame; blanks around the names of columns are dropped.

    Args:
        path: the file, see `is_table`.
        texts: columns that are read as texts, such as labels and ids.

    Raises:
        UserError: pyarrow, which .parquet needs, is not installed, or the file cannot be read.
    """
    import pandas  # Takes half a second, which --help and .npy files need not wait for.

    with _readable(path):
        if is_parquet(path):
            return pandas.read_parquet(path)
        found = dialect(path)
        options = _options(path, found)
        header = list(pandas.read_csv(path, nrows=0, **options).columns)
        as_text = [name for name in header if str(name).strip() in texts]
        frame = _read_text(
            path,
            found,
            dtype=dict.fromkeys(as_text, str),
            na_values={name: [""] if name in as_text else list(MISSING) for name in header},
            low_memory=False,
            decimal=found.decimal,
            thousands=found.thousands,
        )
    names = [str(name).strip() for name in frame.columns]
    if len(set(names)) == len(names):
        frame.columns = names
    _refuse_missing_header(path, header)
    return frame


def read_cells(path: Path) -> tuple[Any, str]:
    """Reads a table of text, every cell as it is written: a pandas frame of strings, and the separator.

    Raises:
        UserError: the file cannot be read.
    """
    with _readable(path):
        found = dialect(path)
        return _read_text(path, found, dtype=str), found.separator


def _read_text(path: Path, found: Dialect, **options: Any) -> Any:
    import pandas

    with warnings.catch_warnings():
        # Of empty columns at the end, which are dropped on purpose.
        warnings.simplefilter("ignore", pandas.errors.ParserWarning)
        return pandas.read_csv(
            path,
            keep_default_na=False,
            index_col=False if found.trailing else None,
            **_options(path, found),
            **options,
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read into a UserError."""
    from pandas.errors import ParserError

    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{path}: parquet needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} cannot be read as a table (byte {error.start} is not UTF-8); save it as CSV in UTF-8"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, csv.Error, ParserError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a table ({reason})") from error


def _options(path: Path, found: Dialect) -> dict[str, Any]:
    """What pandas is told of the form of a table of text."""
    return {
        "sep": found.separator,
        "skiprows": found.skipped,
        "encoding": found.encoding,
        "compression": _compression(path),
    }


def _compression(path: Path) -> str | None:
    kind = path.suffix.lower().removeprefix(".")
    return {"gz": "gzip"}.get(kind, kind) if f".{kind}" in _COMPRESSED else None


def dialect(path: Path) -> Dialect:
    """How a table of text is written, by its first lines.

    Raises:
        OSError: it cannot be read.
    """
    import pandas

    with pandas.io.common.get_handle(path, "rb", compression=_compression(path), is_text=False) as handle:
        start = handle.handle.read(_CHARACTERS)
    # Excel's 'Unicode text' is UTF-16 with its mark.
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = start.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")
    cut = len(start) == _CHARACTERS
    first, _, rest = text.partition("\n")
    # Excel's own line that names the separator.
    named = re.fullmatch(r'"?sep=(.)"?\r?', first)
    if named:
        separator, text = named[1], rest
    else:
        separator = _separator(text, cut, SEPARATORS[suffix(path)])
    decimal, thousands = ".", None
    header, *rows = _records(text, separator, cut) or [[]]
    trailing = all(len(record) == len(header) + 1 and not record[-1].strip() for record in rows)
    if separator != ",":
        cells = [cell.strip() for record in rows for cell in record]
        if any(_COMMA_DECIMAL.fullmatch(cell) for cell in cells):
            decimal = ","
            thousands = "." if any(_THOUSANDS.fullmatch(cell) for cell in cells) else None
    return Dialect(separator, decimal, thousands, bool(rows) and trailing, int(named is not None), encoding)


def _separator(text: str, cut: bool, usual: str) -> str:
    """The usual separator if it divides all lines alike, else the one that makes the most columns."""
    counts = {}
    for separator in dict.fromkeys((usual, ",", ";", "\t", "|")):
        header, *rows = _records(text, separator, cut) or [[]]
        widths = {len(record) for record in rows or [header]}
        # R leaves the name of the first column out, where it writes row names to it.
        alike = len(widths) == 1 and max(widths) - len(header) in (0, 1)
        counts[separator] = widths.pop() if alike else 1
    if counts[usual] > 1:
        return usual
    return max(counts, key=lambda separator: counts[separator])


def _records(text: str, separator: str, cut: bool) -> list[list[str]]:
    """The first records of a text, without empty ones; the last one is left out where the text is cut."""
    found: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if len(found) > _RECORDS:
                return found
            if record:
                found.append(record)
    except csv.Error:
        # A cell of more than the reader's limit; pandas says what is wrong, if anything is.
        return found
    return found[:-1] if cut and len(found) > 1 else found


def _refuse_missing_header(path: Path, header: list[Any]) -> None:
    """Raises a UserError if the first line has fractions for names: it is a row, not the names."""
    texts = [str(name).strip() for name in header]
    fractions = [text for text in texts if re.fullmatch(r"[-+]?\d*[.,]\d+([eE][-+]?\d+)?(\.\d+)?", text)]
    if len(fractions) > len(texts) / 2:
        raise UserError(
            f"{path} has no names of columns: its first line holds numbers such as {fractions[0]}; put a "
            "line of names on top"
        )
