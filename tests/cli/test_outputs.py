"""Results of `dmlp-purify` appear together; earlier ones stay until then."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dmlp_jax.cli import outputs, summaries
from dmlp_jax.cli.inputs.labelled_rows import FileRows, LabelledRows
from dmlp_jax.errors import UserError
from dmlp_jax.report import page
from dmlp_jax.storage import files
from tests.conftest import make_blobs
from tests.faults.test_disk import failing

FILES = sorted(outputs.NAMES)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of earlier results, and a function that writes others there, with nothing to compute."""
    out = tmp_path / "out"
    out.mkdir()
    for name in FILES:
        (out / name).write_text(f"earlier {name}")

    def save(path, *_, **__):
        files.save_text(path, f"new {path.name}")

    monkeypatch.setattr(outputs, "issues", lambda *_, **__: SimpleNamespace(csv=lambda: "new issues.csv"))
    monkeypatch.setattr(summaries, "summarize", lambda *_: {})
    monkeypatch.setattr(outputs, "purifier_arrays", lambda _: {})
    own = SimpleNamespace(is_parquet=False, write=save)
    monkeypatch.setattr(
        outputs, "purified_table", SimpleNamespace(table=lambda *_: own, columns=lambda *_: {})
    )
    monkeypatch.setattr(page, "write", save)
    monkeypatch.setattr(files, "save_npz", save)
    monkeypatch.setattr(files, "save_json", save)
    features, given, val, _ = make_blobs(0)
    names = ("ant", "bee", "cat")
    rows = LabelledRows(features, given, *val, None, None, names, np.arange(300), None, 300, ())
    rows = rows._replace(file=FileRows(given, np.zeros(0, int)))
    result = SimpleNamespace(labels=given, probs=None, confidence=None, changed=None, label_quality=None)
    settings = {"gallery": 0, "report_megabytes": 20, "map": "none"}
    return out, lambda: outputs.write(out, rows, result, settings, {})


def contents_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_new_results_replace_all_earlier_ones(results):
    out, write = results
    write()
    assert contents_of(out) == {name: f"new {name}" for name in FILES}


@pytest.mark.parametrize(
    "name",
    [
        "cli.outputs.files.save_npz",
        "cli.outputs.files.save_text",
        "report.page.write",
        "cli.outputs.files.save_json",
        "cli.outputs.files.writing",
    ],
)
def test_earlier_results_outlive_a_full_disk(results, monkeypatch, name):
    out, write = results
    monkeypatch.setattr(f"dmlp_jax.{name}", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write()
    assert contents_of(out) == {name: f"earlier {name}" for name in FILES}


@pytest.mark.parametrize("earlier", [FILES, ["report.html"], []], ids=["all", "one", "none"])
@pytest.mark.parametrize("step", range(2 * len(FILES)))
def test_earlier_results_come_back_when_a_new_one_cannot_be_moved(results, monkeypatch, earlier, step):
    out, write = results
    for name in set(FILES) - set(earlier):
        (out / name).unlink()
    replace, moves = os.replace, []

    def torn(source, target):
        if out in (Path(source).parent, Path(target).parent):
            moves.append(target)
            if len(moves) == step + 1:
                raise OSError(errno.EPERM, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr(os, "replace", torn)
    if step < len(earlier) + len(FILES):
        with pytest.raises(UserError, match=f"cannot write {out}: Operation not permitted"):
            write()
        assert contents_of(out) == {name: f"earlier {name}" for name in earlier}
    else:
        write()
        assert contents_of(out) == {name: f"new {name}" for name in FILES}


def test_a_result_that_is_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html is a folder, not a result"):
        outputs.check_folder(tmp_path, overwrite=True)
