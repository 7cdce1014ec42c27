"""What the README and docs/ say was measured stands in benchmarks/results."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
RESULTS = [path.read_text() for path in sorted((REPOSITORY / "benchmarks" / "results").glob("*.md"))]
MADE_BY = re.compile(r"(\| [^\n]*\|)\n\n(2 cores of [^\n]*; commit [0-9a-f]{12}; `[^`\n]*`)$", re.MULTILINE)


def text_of(page):
    return (REPOSITORY / page).read_text()


def cells_of(text):
    """The rows of the tables of a text, as lists of cells."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def tables():
    """Rows of cells, without the header, and the line that says how they were made."""
    for page in ("README.md", "docs/results.md"):
        text = text_of(page)
        for found in MADE_BY.finditer(text):
            before = text[: found.end(1)].splitlines()
            start = max(k for k, line in enumerate(before) if re.match(r"\|[ |-]*-[ |-]*$", line))
            yield pytest.param(cells_of("\n".join(before[start + 1 :])), found[2], id=f"{page}: {found[2]}")


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(f"docs/{name}.md" for name in ("findings", "results", "clean_set", "how_it_works", "faq")),
    ],
)
def test_numbers_stand_in_the_results(page):
    # Also where a line of the page ends inside.
    numbers = re.findall(r"\d+\.\d+ ± \d+\.\d+", " ".join(text_of(page).split()))
    assert len(numbers) > 20 or page in ("docs/how_it_works.md", "docs/faq.md")
    for number in numbers:
        assert any(number in text for text in RESULTS), number


@pytest.mark.parametrize(("rows", "made_by"), list(tables()))
def test_tables_stand_in_the_results(rows, made_by):
    """Columns may be left out, and tables of one file stand side by side; a row's first cell names it."""
    measured = [text for text in RESULTS if made_by in text]
    assert len(measured) == 1, "no result file, or several, were made by this command at this commit"
    for row in rows:
        known = [cell for other in cells_of(measured[0]) if row[0] in other for cell in other]
        place = 0
        for cell in row:
            assert cell in known[place:], (cell, row)
            place = known.index(cell, place) + 1


def test_all_tables_are_looked_at():
    assert len(list(tables())) > 15
