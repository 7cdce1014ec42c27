"""The command that takes up the decisions of a review."""

import shlex
from pathlib import Path

import pytest

from dmlp_jax.cli import rerun
from dmlp_jax.cli.parser import make_parser


@pytest.mark.parametrize(
    ("words", "applied", "decisions", "out"),
    [
        (["f.npy", "l.txt", "--out", "OUT"], [], "decisions.csv", "OUT_2"),
        (["f.npy", "--out=a b/round1", "--overwrite", "--seed", "3"], [], "decisions.csv", "a b/round2"),
        (
            ["--out", "r9", "f.npy", "--apply", "x/decisions.csv"],
            ["x/decisions.csv"],
            "decisions_2.csv",
            "r10",
        ),
        (["f.npy", "--ou", "OUT"], [], "decisions.csv", "OUT_2"),
        (["it's $HOME.csv", "--out", "/"], [], "decisions.csv", "OUT_2"),
    ],
)
def test_it_repeats_the_run_with_the_decisions_into_another_folder(words, applied, decisions, out):
    before = make_parser().parse_args(words)
    found = rerun.after_review(words, before.out, [Path(path) for path in applied])
    assert found.decisions == decisions
    program, *again = shlex.split(found.command)
    assert program == "dmlp-purify"
    after = make_parser().parse_args(again)
    assert after.out == Path(out)
    assert after.apply == [Path(path) for path in [*applied, decisions]]
    assert not after.overwrite
    same = set(vars(before)) - {"out", "apply", "overwrite"}
    assert {name: vars(after)[name] for name in same} == {name: vars(before)[name] for name in same}
