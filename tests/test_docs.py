"""The pages of docs/: what they name exists, and what they show runs."""

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dmlp_jax import config as config_module
from dmlp_jax.cli import command as cli
from dmlp_jax.reproduce import __main__ as reproduce

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
TEXTS = {page: (DOCS / page).read_text() for page in PAGES}
PROGRAMS = {"dmlp-purify": cli.make_parser, "dmlp_jax.reproduce": reproduce.parser}


class Block(NamedTuple):
    """A fenced block; `skipped` says why it is not run, `needs` which module it takes."""

    page: Path
    language: str
    text: str
    skipped: str | None
    needs: str | None


def blocks_of(page):
    fence = re.compile(
        r"(?:<!-- (not run|needs): ([^\n]*?) -->\n)?^( *)```(\w+)[^\n]*\n(.*?)^ *```$",
        re.DOTALL | re.MULTILINE,
    )
    for kind, word, indent, language, text in fence.findall(TEXTS[page]):
        lines = "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        yield Block(
            page, language, lines, word if kind == "not run" else None, word if kind == "needs" else None
        )


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUNNABLE = [
    page for page in PAGES if any(b.language in ("python", "bash") and not b.skipped for b in blocks_of(page))
]


def commands(text):
    """Commands of a shell block, as words."""
    joined = text.replace("\\\n", " ")
    return [
        shlex.split(line, comments=True) for line in joined.splitlines() if shlex.split(line, comments=True)
    ]


def options_of(parser):
    return {option for action in parser._actions for option in action.option_strings}


def test_blocks_are_found():
    """The pattern above meets the fences: each opens and closes."""
    assert len(BLOCKS) > 30
    for page, text in TEXTS.items():
        assert 2 * len(list(blocks_of(page))) == len(re.findall(r"^ *```", text, re.MULTILINE)), page
    assert {block.language for block in BLOCKS} <= {"python", "bash", "text", "csv"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_settings_exist(page):
    known = dict(config_module.flatten(config_module.default_config()))
    named = re.findall(r"--config\.([\w.]+)", TEXTS[page])
    own = {"recipes.label_smoothing.smoothing"}
    assert not {name.rstrip(".") for name in named} - set(known) - own
    # Settings in prose: `retrain.method`, `purify.preset=paper`.
    rooms = {key.split(".")[0] for key in known if "." in key}
    for name in re.findall(r"`([a-z_0-9]+\.[a-z_]+)(?:=[^`]*)?`", TEXTS[page]):
        room, word = name.split(".")
        if room in rooms and word not in ("html", "py"):
            module = importlib.util.find_spec(f"dmlp_jax.{room}")
            # Packages are called as groups of settings are.
            there = module is not None and hasattr(importlib.import_module(module.name), word)
            assert name in known or there, name


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_exist(page):
    folders, endings = "configs|benchmarks|examples|launch|dmlp_jax|tests", "py|md|sh|sbatch|yaml|csv|html"
    for name in re.findall(rf"\b((?:{folders})/[\w/.]+\.(?:{endings}))\b", TEXTS[page]):
        assert (REPOSITORY / name).is_file(), name
    for module in re.findall(r"python -m (dmlp_jax[\w.]*)", TEXTS[page]):
        assert importlib.util.find_spec(module), module
    for name in re.findall(r"--config=([\w/]+\.py)", TEXTS[page]):
        assert (REPOSITORY / name).is_file() or name == "label_smoothing.py", name


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_options_of_the_programs_exist(page):
    for block in blocks_of(page):
        for words in commands(block.text) if block.language == "bash" else ():
            for program, parser in PROGRAMS.items():
                if program in words:
                    given = {
                        word.split("=")[0] for word in words[words.index(program) :] if word.startswith("--")
                    }
                    assert given <= options_of(parser()), words
            script = next((word for word in words if word.startswith("benchmarks/")), None)
            if script:
                source = (REPOSITORY / script).read_text()
                for word in words:
                    assert not word.startswith("--") or f'"{word.split("=")[0]}"' in source, words
    # Options in prose belong to one of the programs, to main, to data.check or to a launcher.
    known = {"--config", "--workdir", "--multihost", "--help"} | set().union(
        *(options_of(make()) for make in PROGRAMS.values())
    )
    others = {
        "--out",
        "--dry-run",
        "--gpus",
        "--tries",
        "--name",
        "--zone",
        "--spot",
        "--nodes",
        "--ntasks",
        "--r",
    }
    others |= {"--strict", "--all", "--noise_mode"}
    for option in re.findall(r"`(--[\w-]+)", TEXTS[page]):
        assert option in known | others, option


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda b: str(b.page))
def test_python_imports_what_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("dmlp_jax"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def is_there(block):
    return block.needs is None or importlib.util.find_spec(block.needs) is not None


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=str)
def test_blocks_run(page, tmp_path, monkeypatch):
    """All blocks of a page one after the other in an empty folder, as a reader would run them."""
    monkeypatch.chdir(tmp_path)
    for name in ("configs", "examples", "benchmarks", "launch"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    if page == Path("index.md"):
        make_quick_start_files()
    names = {"__name__": "page"}
    for block in blocks_of(page):
        if block.skipped or not is_there(block):
            continue
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        elif block.language == "bash":
            for words in commands(block.text):
                run(words)


def make_quick_start_files():
    """The files that the page calls your own."""
    (block, *_) = [b for b in blocks_of(Path("your_data.md")) if 'np.save("features.npy"' in b.text]
    exec(compile(block.text, "your_data.md", "exec"), {})


def run(words):
    if words[0] == "dmlp-purify":
        words = [sys.executable, "-m", "dmlp_jax.cli", *words[1:]]
    elif words[0] == "python":
        words = [sys.executable, *words[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, (words, done.stdout[-2000:] + done.stderr[-2000:])


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("mkdocstrings"), reason="the extra docs is not installed")
def test_site_builds_without_a_warning_and_without_the_network(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.compile(r"<(?:script|img|link rel=\"stylesheet\")[^>]*(?:src|href)=\"(?:https?:)?//")
    for path in (tmp_path / "site").rglob("*.html"):
        text = path.read_text()
        assert not loaded.search(text), path
        assert "arithmatex" not in text, path
    assert "<math" in (tmp_path / "site" / "how_it_works.html").read_text()
    index = (tmp_path / "site" / "search" / "search_index.js").read_text()
    assert "PurifyConfig" in index
    assert (tmp_path / "site" / "javascripts" / "iframe-worker.js").is_file()


def pattern_of(node):
    """What a string or f-string of some length may become; '' for other nodes."""
    parts = (
        node.values if isinstance(node, ast.JoinedStr) else [node] if isinstance(node, ast.Constant) else []
    )
    fixed = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    if len("".join(str(part) for part in fixed if part is not None)) < 12 or bytes in map(type, fixed):
        return ""
    return "".join(".+?" if part is None else re.escape(str(part)) for part in fixed)


def test_messages_that_are_explained_are_real():
    sources = sorted((REPOSITORY / "dmlp_jax").rglob("*.py"))
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text())))
    known = [re.compile(pattern) for pattern in filter(None, map(pattern_of, nodes))]
    messages = re.findall(r"^\| `([^|]*)` \|", TEXTS[Path("troubleshooting.md")], re.MULTILINE)
    assert len(messages) > 12
    for message in messages:
        found = [match.span() for match in (pattern.search(message) for pattern in known) if match]
        told = {place for start, end in found for place in range(start, end)}
        # A message may be put together from several strings.
        assert len(told) > 0.6 * len(message), (message, "".join(message[place] for place in sorted(told)))
