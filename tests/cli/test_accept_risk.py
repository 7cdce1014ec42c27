"""`dmlp-purify --accept-risk`: the column, the line that is printed, and why nothing is accepted."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dmlp_jax.cli import command as cli
from dmlp_jax.cli import risk
from dmlp_jax.storage import files
from tests.cli.kit import VAL_LABELS, basic, read_issues


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Runs the command at a risk: what it printed, and the folder of its results."""
    rng = np.random.default_rng(5)
    given = np.where(rng.random(30) < 0.5, rng.integers(3, size=30), VAL_LABELS)
    np.save(tmp_path / "g.npy", given)

    def at(value, *more):
        out = tmp_path / f"out_{value}"
        arguments = [*basic(folder), *more, "--gallery", "0", "--map", "none", "--out", str(out)]
        assert cli.main([*arguments, "--accept-risk", str(value)]) == 0
        return capsys.readouterr().out, out

    return at, ("--val-given-labels", str(tmp_path / "g.npy"))


def test_accepted_labels_are_marked(run):
    at, known = run
    printed, out = at(0.3, *known)
    stored, rows = files.load_npz(out / "purified.npz"), read_issues(out / "issues.csv")
    accepted = stored["accepted"]
    assert accepted.dtype == bool
    assert accepted.sum() > 0
    assert list(rows[0])[-1] == "accepted"
    assert [row["accepted"] for row in rows] == [str(accepted[int(row["index"])]) for row in rows]
    # The least confident of the accepted is above every other one.
    confidence = stored["confidence"]
    assert np.all(confidence[accepted].min() > confidence[~accepted])
    found = json.loads((out / "summary.json").read_text())["accepted"]
    # Half of the 30 clean rows.
    assert found == {"risk": 0.3, "rows": accepted.sum(), "calibration_rows": 15, "why_none": None}
    assert f"{accepted.sum()} of 300 labels are accepted at a risk of 30 %" in printed


def test_too_few_rows_accept_nothing_and_cost_nothing(run):
    """All clean rows stay such where half of them would not be enough."""
    at, known = run
    printed, out = at(0.01, *known)
    assert not files.load_npz(out / "purified.npz")["accepted"].any()
    assert "no label is accepted at a risk of 1 %: it takes at least 198 reviewed rows" in printed
    assert "there are 30, so 168 more are needed" in printed
    assert json.loads((out / "summary.json").read_text())["accepted"]["calibration_rows"] == 0


def test_unknown_labels_before_review_accept_nothing(run):
    printed, out = run[0](0.2)
    assert not files.load_npz(out / "purified.npz")["accepted"].any()
    assert "whose label before review is known" in printed
    assert "there are 0, so 8 more are needed" in printed


def test_as_many_are_set_aside_as_mistakes_can_be_borne():
    labels = np.append(np.repeat([0, 1], 500), 2)
    rows = SimpleNamespace(val_labels=labels, val_given_labels=labels, val_random=None)
    assert risk.share(rows, None) is None
    # Class 2 has one row, which cannot be set aside.
    assert risk.share(rows, 0.1) == pytest.approx(250 / 1000)
    assert risk.share(rows, 0.01) == 0.5
    assert risk.share(rows, 0.001) is None
    some = np.arange(1001) < 400
    picked = SimpleNamespace(val_labels=labels, val_given_labels=labels, val_random=some)
    assert risk.share(picked, 0.1) == 0.5
    unknown = SimpleNamespace(val_labels=labels, val_given_labels=np.where(some, -1, labels), val_random=None)
    assert risk.share(unknown, 0.1) == pytest.approx(250 / 600)
