"""The tables of README.md and docs/ are those of benchmarks/results, and what fills them works."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MADE_BY = "2 cores of X; Python 3; commit 0123456789ab; `python x.py`"
ONE = f"""# One

Of all rows.

| rows | noise | right, % | given |
| --- | --- | --- | --- |
| 30 | low | 1.0 ± 0.1 | a |
| 30 | high | 2.0 ± 0.2 |  |
| 1,000 | low | 3.0 ± 0.3 | c |

{MADE_BY}
"""
TWO = f"""# Two

Low:

| a | b |
| --- | --- |
| 1 | 2 |

High:

| a | b |
| --- | --- |
| 3 | 4 |

Note.

{MADE_BY}
"""


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("pages")


@pytest.fixture
def root(tmp_path):
    """A repository with two result files and two pages."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "api").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "one.md").write_text(ONE)
    (tmp_path / "benchmarks" / "results" / "two.md").write_text(TWO)
    (tmp_path / "README.md").write_text(f"# Title\n\n{region('one; columns: noise')}\n\nMore.\n")
    (tmp_path / "docs" / "api" / "page.md").write_text("Nothing to fill.\n")
    return tmp_path


@pytest.fixture
def results(root):
    return root / "benchmarks" / "results"


def region(marker, inside=""):
    return f"<!-- results: {marker} -->\n{inside}<!-- end of results -->"


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_repository_is_up_to_date(pages):
    """If this fails, run `python benchmarks/pages.py`."""
    texts = {path: path.read_text(encoding="utf-8") for path in pages.pages()}
    assert [message for path, text in texts.items() for message in pages.stale(text, path.name)] == []
    assert sum(text.count("<!-- results: ") for text in texts.values()) > 20


def test_all_columns_and_how_it_was_made(pages, results):
    assert pages.shown("one", results) == ONE.split("Of all rows.\n\n")[1].strip()


def test_columns_are_kept_in_the_order_given(pages, results):
    assert rows_of(pages.shown("one; columns: given | right, %", results)) == [
        "| given | right, % |", "| --- | --- |", "| a | 1.0 ± 0.1 |", "|  | 2.0 ± 0.2 |", "| c | 3.0 ± 0.3 |",
    ]  # fmt: skip


def test_columns_are_left_out(pages, results):
    assert rows_of(pages.shown("one; without: given | right, %", results))[2:] == [
        "| 30 | low |", "| 30 | high |", "| 1,000 | low |",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ("rows: noise = low", ["| 1.0 ± 0.1 |", "| 3.0 ± 0.3 |"]),
        ("rows: noise = high | low", ["| 1.0 ± 0.1 |", "| 2.0 ± 0.2 |", "| 3.0 ± 0.3 |"]),
        ("rows: noise = low; rows: rows = 1,000", ["| 3.0 ± 0.3 |"]),
    ],
)
def test_rows_are_kept(pages, results, rows, left):
    assert rows_of(pages.shown(f"one; columns: right, %; {rows}", results))[2:] == left


def test_a_file_with_several_tables(pages, results):
    both = "| a |\n| --- |\n| 1 |\n\n| a |\n| --- |\n| 3 |"
    assert pages.shown("two; columns: a", results) == f"{both}\n\n{MADE_BY}"
    second = "| b |\n| --- |\n| 4 |"
    assert pages.shown("two; table: 2; columns: b", results) == f"{second}\n\n{MADE_BY}"
    with_text = f"High:\n\n{second}\n\nNote.\n\n{MADE_BY}"
    assert pages.shown("two; table: 2; text: yes; without: a", results) == with_text
    assert pages.shown("two; text: yes", results) == TWO.removeprefix("# Two\n\n").strip()


def test_columns_of_one_name_stay_apart(pages, results):
    table = "| a | t | t |\n| --- | --- | --- |\n| 1 | 2 | 3 |"
    (results / "same.md").write_text(f"# S\n\n{table}\n\n{MADE_BY}\n")
    assert rows_of(pages.shown("same", results))[2] == "| 1 | 2 | 3 |"
    assert rows_of(pages.shown("same; columns: t", results))[2] == "| 2 | 3 |"


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("three", "there is no result file three.md"),
        ("one; columns: noise | wrong", r"there is no column 'wrong'; there are: rows \| noise \| right, %"),
        ("one; without: wrong", "there is no column 'wrong'"),
        ("one; rows: wrong = low", "there is no column 'wrong'"),
        ("one; rows: noise = low | none", "no row has 'none' in the column 'noise'"),
        ("one; rows: noise", "names no values"),
        ("one; rows: noise = high; rows: rows = 1,000", "no row is left"),
        ("two; table: 3", "there is no table 3 in two.md, which has 2"),
        ("one; colums: noise", "'colums: noise' is none of the settings columns, without, rows"),
        ("one; columns:", "each with a value"),
        ("one; columns: noise; columns: rows", "'columns' is there twice"),
        ("one; columns: noise; without: rows", "not both"),
        ("one; text: no", "'yes' only"),
    ],
)
def test_what_does_not_exist_is_named_with_page_and_comment(pages, results, marker, message):
    text = f"# Title\n\n{region(marker)}\n"
    with pytest.raises(ValueError, match=rf"page.md, line 3, <!-- results: .* -->: .*{message}"):
        pages.fill(text, "page.md", results)
    (complaint,) = pages.stale(text, "page.md", results)
    assert complaint.startswith("page.md, line 3, <!-- results: ")


def test_a_result_file_has_to_say_how_it_was_made(pages, results):
    (results / "bare.md").write_text("# B\n\n| a |\n| --- |\n| 1 |\n")
    with pytest.raises(ValueError, match=r"bare\.md does not end with how it was made"):
        pages.shown("bare", results)
    (results / "empty.md").write_text(f"# B\n\n{MADE_BY}\n")
    with pytest.raises(ValueError, match=r"empty\.md has no table"):
        pages.shown("empty", results)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<!-- results: one -->\n| a |\n", 1),
        (f"\n<!-- results: one -->\n\n{region('one')}\n", 2),
        (f"{region('one')}\n<!-- end of results -->\n", 3),
        ("<!-- results: one --> <!-- end of results -->\n", 1),
    ],
)
def test_a_comment_without_its_other_half_is_refused(pages, results, text, line):
    with pytest.raises(ValueError, match=rf"page.md, line {line}, .*the other one of this pair"):
        pages.fill(text, "page.md", results)
    assert len(pages.stale(text, "page.md", results)) == 1


def test_filling_changes_nothing_else_and_nothing_twice(pages, results):
    several_lines = "two;\n     columns: a;\n     table: 1"
    old = region("one", "old\n")
    text = f"Before.\n\n{old}\n\nBetween.\n\n{region(several_lines)}\n\nAfter.\n"
    filled = pages.fill(text, "page.md", results)
    one, two = (region(marker, f"\n{pages.shown(marker, results)}\n\n") for marker in ("one", several_lines))
    assert filled == f"Before.\n\n{one}\n\nBetween.\n\n{two}\n\nAfter.\n"
    assert pages.fill(filled, "page.md", results) == filled
    assert len(pages.stale(text, "page.md", results)) == 2
    assert pages.stale(filled, "page.md", results) == []


def test_a_new_measurement_is_one_file_and_one_command(pages, root, results, capsys):
    assert pages.main([], root) == 0
    assert capsys.readouterr().out == "README.md is written anew\n"
    assert pages.main(["--check"], root) == 0
    (results / "one.md").write_text(ONE.replace("high", "severe"))
    before = (root / "README.md").read_text()
    capsys.readouterr()
    assert pages.main(["--check"], root) == 1
    assert "README.md, line 3, <!-- results: one; columns: noise -->: not as" in capsys.readouterr().out
    assert (root / "README.md").read_text() == before
    assert pages.main([], root) == 0
    assert (root / "README.md").read_text() == before.replace("high", "severe")


def test_nothing_is_written_where_one_page_is_wrong(pages, root, capsys):
    before = (root / "README.md").read_text()
    (root / "docs" / "api" / "page.md").write_text(region("three"))
    assert pages.main([], root) == 1
    assert "docs/api/page.md, line 1, <!-- results: three -->: there is no" in capsys.readouterr().err
    assert (root / "README.md").read_text() == before


def test_the_site_warns_of_it(pages, caplog):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="results.md"))
    pages.on_page_markdown("No table.", page=page, config=None, files=None)
    assert not caplog.records
    pages.on_page_markdown(region("no_such_file"), page=page, config=None, files=None)
    (record,) = caplog.records
    assert (record.levelname, record.name.split(".")[0]) == ("WARNING", "mkdocs")
    assert "results.md, line 1, <!-- results: no_such_file -->" in record.getMessage()
