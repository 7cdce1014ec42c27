"""`dmlp-purify` on tables with labels of several annotators."""

import json

import numpy as np
import pandas as pd

from dmlp_jax.cli import command as cli
from dmlp_jax.storage import files
from tests.conftest import accuracy
from tests.purifier.annotators.crowds import RIGHT, crowd, majority

NAMES = np.array(["ant", "bee", "cat"], object)
ANNOTATORS = [f"a{i}" for i in range(len(RIGHT))]


def test_columns_of_annotators_need_no_clean_rows(tmp_path, capsys):
    features, votes, _, _, true = crowd(0)
    table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
    for place, name in enumerate(ANNOTATORS):
        table[name] = np.where(votes[:, place] >= 0, NAMES[votes[:, place]], "")
    table.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    options = ["--label-column", ",".join(ANNOTATORS), "--gallery", "0", "--map", "none", "--out", str(out)]
    assert cli.main([str(tmp_path / "t.csv"), *options]) == 0
    stored = files.load_npz(out / "purified.npz")
    assert accuracy(stored["labels"], true) > accuracy(majority(votes), true) + 0.05
    printed = capsys.readouterr().out
    assert "was not counted" in printed
    assert "Estimated share of right labels by annotator: a0" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["annotators"]) == ANNOTATORS
    assert summary["held_out"]["purified"] is None
    own = pd.read_csv(out / "purified.csv")
    assert list(own.columns[: len(table.columns)]) == list(table.columns)
    np.testing.assert_array_equal(own["purified_label"], NAMES[stored["labels"]])


def test_options_that_do_not_go_together(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("x,a,b\n1,u,v\n2,v,v\n")
    (tmp_path / "i.txt").write_text("0\n")
    wide = [str(tmp_path / "t.csv"), "--label-column", "a,b", "--out", str(tmp_path / "o")]
    for more, words in (
        (["--draw-clean"], "need no clean rows"),
        (["--annotator-column", "a"], "--annotator-column is for a long table"),
        (["--val-index", str(tmp_path / "i.txt")], "give them as --val-labels"),
    ):
        assert cli.main([*wide, *more]) == 2
        assert words in capsys.readouterr().err
    assert cli.main([wide[0], "--annotator-column", "a", *wide[3:]]) == 2
    assert "name its file as LABELS" in capsys.readouterr().err
