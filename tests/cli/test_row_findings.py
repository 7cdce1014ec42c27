"""What `dmlp-purify` says of rows beside their labels."""

import json

import numpy as np
import pytest

from dmlp_jax.cli import command as cli
from tests.cli.kit import FEATURES, VAL_FEATURES, basic, read_issues


def run_on(features, folder, tmp_path):
    """Runs the command on these features and the labels of the folder; the folder of the results."""
    np.save(tmp_path / "f.npy", features)
    words = [str(tmp_path / "f.npy"), *basic(folder)[1:], "--gallery", "0", "--map", "none"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_duplicates_and_copies_are_told(folder, tmp_path, capsys):
    features = FEATURES.copy()
    features[3] = features[200]
    features[10] = VAL_FEATURES[0]
    out = run_on(features, folder, tmp_path)
    printed = capsys.readouterr().out
    assert "Warning: 1 training row is equal or nearly equal to clean rows" in printed
    assert "Beside labels: 2 rows in 1 sets of (near) duplicates" in printed
    rows = {int(row["index"]): row for row in read_issues(out / "issues.csv")}
    assert rows[3]["duplicate_set"] == rows[200]["duplicate_set"] == "0"
    assert rows[0]["duplicate_set"] == ""
    assert [row for row in rows if rows[row]["copy_of_clean_row"] == "True"] == [10]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rows_found"]["exact_duplicates"] == 2
    assert summary["warnings"][0].startswith("1 training row")
    assert "Beside labels" in (out / "report.html").read_text()


@pytest.mark.parametrize("on_disk", [False, True])
def test_of_many_rows_only_equal_ones_are_searched(folder, tmp_path, capsys, monkeypatch, on_disk):
    features = FEATURES.copy()
    features[3] = features[200]
    features[5] = features[201] + 1e-4
    features[10] = VAL_FEATURES[0]
    if on_disk:
        monkeypatch.setattr("dmlp_jax.cli.inputs.arrays.MEMORY_SHARE", 0.0)
        monkeypatch.setattr("dmlp_jax.cli.inputs.arrays._SMALL", 0)
    else:
        monkeypatch.setattr("dmlp_jax.cli.row_findings.MOST_WORK", 1.0)
    out = run_on(features, folder, tmp_path)
    printed = capsys.readouterr().out
    assert "Warning: 1 training row is equal to clean rows" in printed
    assert (
        "2 rows in 1 sets of exact duplicates; see issues.csv. Only exact duplicates were looked for"
        in printed
    )
    rows = {int(row["index"]): row for row in read_issues(out / "issues.csv")}
    assert [row for row in sorted(rows) if rows[row]["duplicate_set"]] == [3, 200]
    assert "outlier" not in rows[0]
    assert json.loads((out / "summary.json").read_text())["rows_found"]["outliers"] is None
