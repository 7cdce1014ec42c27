"""What `dmlp-purify` says of rows beside their labels."""

import json

import numpy as np

from dmlp_jax.cli import command as cli
from tests.cli.kit import FEATURES, VAL_FEATURES, basic, read_issues


def test_duplicates_and_copies_are_told(folder, tmp_path, capsys):
    features = FEATURES.copy()
    features[3] = features[200]
    features[10] = VAL_FEATURES[0]
    np.save(tmp_path / "f.npy", features)
    out = tmp_path / "out"
    assert (
        cli.main(
            [
                str(tmp_path / "f.npy"),
                *basic(folder)[1:],
                "--gallery",
                "0",
                "--map",
                "none",
                "--out",
                str(out),
            ]
        )
        == 0
    )
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
