"""`dmlp-purify --with`: new rows are judged by an earlier run."""

import json

import numpy as np
import pandas as pd
import pytest

from dmlp_jax.cli import command as cli
from dmlp_jax.cli.audit import OVER
from tests.cli.kit import FEATURES, GIVEN, NAMES, TRUE, VAL_FEATURES, VAL_LABELS, read_issues

COLUMNS = [f"x{i}" for i in range(FEATURES.shape[1])]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The results of a run on a table whose last rows are clean."""
    root = tmp_path_factory.mktemp("earlier")
    table = pd.DataFrame(np.concatenate([FEATURES, VAL_FEATURES]), columns=COLUMNS)
    table["label"] = NAMES[np.concatenate([GIVEN, VAL_LABELS])]
    table.to_csv(root / "t.csv", index=False)
    clean = len(FEATURES) + np.arange(len(VAL_FEATURES))
    (root / "i.txt").write_text("".join(f"{row}\n" for row in clean))
    options = [
        "--val-index",
        str(root / "i.txt"),
        "--gallery",
        "0",
        "--map",
        "none",
        "--out",
        str(root / "o"),
    ]
    assert cli.main([str(root / "t.csv"), *options]) == 0
    return root / "o"


def new_table(path, labels, columns=COLUMNS):
    """Rows that the run never saw, in other columns' order."""
    rng = np.random.default_rng(9)
    table = pd.DataFrame(FEATURES[:60] + 0.01 * rng.normal(size=(60, len(columns))), columns=columns)
    table.insert(0, "label", labels)
    table[["label", *reversed(columns)]].to_csv(path, index=False)
    return str(path)


def test_wrong_labels_of_new_rows_are_found(earlier, tmp_path, capsys):
    labels = TRUE[:60].copy()
    labels[:6] = (labels[:6] + 1) % 3
    new = new_table(tmp_path / "n.csv", NAMES[labels])
    out = tmp_path / "out"
    assert cli.main([new, "--with", str(earlier), "--out", str(out), "--fail-over", "0.05"]) == OVER
    assert "more than 5 % of the labels are estimated wrong" in capsys.readouterr().out
    found = read_issues(out / "issues.csv")
    assert len({int(row["index"]) for row in found[:6]} & set(range(6))) >= 5
    own = pd.read_csv(out / "purified.csv")
    assert list(own.columns[:2]) == ["label", COLUMNS[-1]]
    assert np.mean(own["purified_label"] == NAMES[TRUE[:60]]) > 0.9
    share = json.loads((out / "summary.json").read_text())["estimated_wrong"]
    assert 0.05 < share < 0.3
    again = [new, "--with", str(earlier), "--out", str(out), "--overwrite", "--fail-over", "0.5"]
    assert cli.main(again) == 0


def test_what_does_not_fit_is_refused(earlier, tmp_path, capsys):
    new = new_table(tmp_path / "n.csv", NAMES[TRUE[:60]])
    other = new_table(tmp_path / "m.csv", np.where(np.arange(60) == 3, "elk", NAMES[TRUE[:60]]))
    fewer = new_table(tmp_path / "w.csv", NAMES[TRUE[:60]], [f"z{i}" for i in range(len(COLUMNS))])
    out = ["--out", str(tmp_path / "out")]
    for arguments, words in (
        ([other, "--with", str(earlier)], "labels hold 'elk', which is no class of the run (ant, bee, cat)"),
        ([fewer, "--with", str(earlier)], "has no column 'x0'"),
        ([new, "--with", str(tmp_path)], "holds no finished run"),
        ([new, "--with", str(earlier), "--suggest", "5"], "--suggest is for a run that learns"),
        ([new, "--fail-over", "0.1"], "--fail-over needs --with"),
        ([new, "--text", "label", "--with", str(earlier)], "was made from features"),
    ):
        assert cli.main([*arguments, *out]) == 2
        assert words in capsys.readouterr().err
