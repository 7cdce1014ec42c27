"""Fills the tables of README.md and docs/ with those of benchmarks/results.

    python benchmarks/pages.py          # after a measurement: writes every table anew
    python benchmarks/pages.py --check  # names what is not as in the result files, and ends with status 1

A page holds a table between two comments; the first one names the result file and selects columns and rows:

    <!-- results: purify_few_clean; columns: noise | purified; rows: noise = sym80 | sym90 -->

    <!-- end of results -->

The script writes the table between them, and below it the last line of the result file, which says how it was
made. These settings may follow the file's name, in any order and over several lines:

- `columns: a | b`, the columns to show, in this order; or `without: a | b`, the columns to leave out;
- `rows: column = x | y`, the rows with one of these values in that column; several `rows` must all hold;
- `table: 2`, one table of a file that has several, counted from 1;
- `text: yes`, also the file's text before the table and, if it is the last table, after it.

Comments use the names of the result file; the probes are shown by what they were trained on.
"""

import argparse
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
SETTINGS = ("columns", "without", "rows", "table", "text")
# What pages show for names of columns and rows that only the code explains.
SHOWN = {
    "val only probe": "probe trained on the clean rows only",
    "noisy probe": "probe trained on the noisy labels",
    "noisy plus val probe": "probe trained on both",
}

_REGION = re.compile(
    r"<!-- results: (?P<marker>(?:(?!-->).)*?) -->\n(?:(?!<!-- results:).)*?<!-- end of results -->",
    re.DOTALL,
)
_COMMENT = re.compile(r"<!-- (?:results:|end of results)")


class Table(NamedTuple):
    """A table of a result file, and the paragraphs there that belong to it."""

    header: list[str]
    rows: list[list[str]]
    before: list[str]
    after: list[str]


def fill(text: str, page: str, results: Path = RESULTS) -> str:
    """The text of a page with the tables of the result files.

    Args:
        text: Markdown.
        page: The page's name, for messages.
        results: The folder of result files.

    Raises:
        ValueError: If a comment names a file, table, column, value or setting that does not exist, or has no
            end; the message has page, line and comment.
    """
    _refuse_unpaired(text, page)
    return _REGION.sub(lambda found: _filled(found, page, results), text)


def stale(text: str, page: str, results: Path = RESULTS) -> list[str]:
    """What `fill` would change, or why it cannot: one message for each table."""
    try:
        _refuse_unpaired(text, page)
    except ValueError as error:
        return [str(error)]
    return [message for found in _REGION.finditer(text) for message in _complaint(found, page, results)]


def shown(marker: str, results: Path = RESULTS) -> str:
    """What the first comment of a table asks for, as Markdown.

    Args:
        marker: What stands after `results:`.
        results: The folder of result files.

    Raises:
        ValueError: If something that it names does not exist.
    """
    name, settings = parse(marker)
    tables, made_by = read(name, results)
    if "table" in settings:
        tables = [_numbered(tables, settings["table"][0], name)]
    parts = []
    for table in tables:
        text = _selected(table, settings)
        parts += [*table.before, text, *table.after] if "text" in settings else [text]
    return "\n\n".join([*parts, made_by])


def parse(marker: str) -> tuple[str, dict[str, list[str]]]:
    """The file's name, and for every setting what was given for it; only `rows` may come several times."""
    name, *parts = (" ".join(part.split()) for part in marker.split(";"))
    settings: dict[str, list[str]] = {}
    for part in parts:
        key, colon, value = (word.strip() for word in part.partition(":"))
        if not colon or not value or key not in SETTINGS:
            raise ValueError(f"'{part}' is none of the settings {', '.join(SETTINGS)}, each with a value")
        if key in settings and key != "rows":
            raise ValueError(f"'{key}' is there twice")
        settings.setdefault(key, []).append(value)
    if "columns" in settings and "without" in settings:
        raise ValueError("give 'columns' or 'without', not both")
    if settings.get("text", ["yes"]) != ["yes"]:
        raise ValueError("'text' can be 'yes' only")
    return name, settings


def read(name: str, results: Path = RESULTS) -> tuple[list[Table], str]:
    """The tables of a result file, and its last paragraph, which says how they were made."""
    path = results / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"there is no result file {name}.md")
    _, *paragraphs, made_by = re.split(r"\n\s*\n", path.read_text(encoding="utf-8").strip())
    if "; commit " not in made_by:
        raise ValueError(f"{name}.md does not end with how it was made")
    tables: list[Table] = []
    before: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith("|"):
            header, _, *rows = map(_cells, paragraph.splitlines())
            tables.append(Table(header, rows, before, []))
            before = []
        else:
            before.append(paragraph)
    if not tables:
        raise ValueError(f"{name}.md has no table")
    tables[-1].after.extend(before)
    return tables, made_by


def _selected(table: Table, settings: dict[str, list[str]]) -> str:
    header, rows, *_ = table
    for condition in settings.get("rows", []):
        column, equals, values = (word.strip() for word in condition.partition("="))
        if not equals:
            raise ValueError(f"'rows: {condition}' names no values; write 'rows: column = x | y'")
        (place, *_) = _places(header, [column])
        wanted = _names(values)
        for value in wanted:
            if value not in [row[place] for row in table.rows]:
                raise ValueError(f"no row has '{value}' in the column '{column}'")
        rows = [row for row in rows if row[place] in wanted]
    if not rows:
        raise ValueError("no row is left")
    if "columns" in settings:
        kept = _places(header, _names(settings["columns"][0]))
    else:
        left_out = _places(header, _names(settings["without"][0])) if "without" in settings else []
        kept = [place for place in range(len(header)) if place not in left_out]
    lines = [header, ["---"] * len(header), *rows]
    cells = ([SHOWN.get(line[place], line[place]) for place in kept] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _places(header: list[str], names: list[str]) -> list[int]:
    for name in names:
        if name not in header:
            raise ValueError(f"there is no column '{name}'; there are: {' | '.join(header)}")
    return [place for name in names for place, other in enumerate(header) if other == name]


def _numbered(tables: list[Table], number: str, name: str) -> Table:
    if number not in map(str, range(1, len(tables) + 1)):
        raise ValueError(f"there is no table {number} in {name}.md, which has {len(tables)}")
    return tables[int(number) - 1]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split("|")]


def _cells(line: str) -> list[str]:
    return _names(line.strip().removeprefix("|").removesuffix("|"))


def _filled(found: re.Match[str], page: str, results: Path) -> str:
    try:
        text = shown(found["marker"], results)
    except ValueError as error:
        raise ValueError(f"{_where(found, page)}: {error}") from error
    return f"<!-- results: {found['marker']} -->\n\n{text}\n\n<!-- end of results -->"


def _complaint(found: re.Match[str], page: str, results: Path) -> Iterator[str]:
    try:
        if _filled(found, page, results) != found[0]:
            yield f"{_where(found, page)}: not as in the result file; run python benchmarks/pages.py"
    except ValueError as error:
        yield str(error)


def _refuse_unpaired(text: str, page: str) -> None:
    paired = {place for found in _REGION.finditer(text) for place in (found.start(), found.end())}
    for found in _COMMENT.finditer(text):
        end = text.find("-->", found.end()) + len("-->")
        if not paired & {found.start(), end}:
            raise ValueError(f"{_where(found, page)}: the other one of this pair of comments is missing")


def _where(found: re.Match[str], page: str) -> str:
    line = found.string.count("\n", 0, found.start()) + 1
    comment = " ".join(found.string[found.start() :].partition("-->")[0].split())
    return f"{page}, line {line}, {comment} -->"


def pages(root: Path = REPOSITORY) -> list[Path]:
    """README.md and the pages of docs/."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> None:
    """Called by MkDocs with the text of a page: `mkdocs build --strict` fails on a warning."""
    for message in stale(markdown, page.file.src_uri):
        logging.getLogger("mkdocs.hooks.pages").warning(message)


def main(arguments: list[str] | None = None, root: Path = REPOSITORY) -> int:
    """Writes the pages, or checks them; returns the status to end with."""
    parser = argparse.ArgumentParser(description="Fills the tables of README.md and docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is not up to date")
    check = parser.parse_args(arguments).check
    results = root / "benchmarks" / "results"
    texts = {path: path.read_text(encoding="utf-8") for path in pages(root)}
    names = {path: path.relative_to(root).as_posix() for path in texts}
    if check:
        messages = [message for path, text in texts.items() for message in stale(text, names[path], results)]
        print("\n".join(messages) or "All tables are as in the result files.")
        return int(bool(messages))
    try:
        filled = {path: fill(text, names[path], results) for path, text in texts.items()}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path in texts:
        if filled[path] != texts[path]:
            path.write_text(filled[path], encoding="utf-8")
            print(f"{names[path]} is written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
