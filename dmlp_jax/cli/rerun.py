"""Writes the command that takes up the decisions of a review, for the report to show."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Rerun(NamedTuple):
    """The next command.

    Attributes:
        command: the command line.
        decisions: the name that the exported decisions have in it.
    """

    command: str
    decisions: str


def after_review(words: Sequence[str], out: Path, applied: Sequence[Path]) -> Rerun:
    """The same command with the decisions of its report, into another folder.

    Args:
        words: the command line of this run, without the program.
        out: its --out.
        applied: files of decisions that it took up already; the new ones get another name.
    """
    taken = {path.name for path in applied}
    number, decisions = 1, "decisions.csv"
    while decisions in taken:
        number += 1
        decisions = f"decisions_{number}.csv"
    kept: list[str] = []
    # A value of its own follows --out. Where an abbreviation of it is left, the --out at the end holds.
    places = iter(words)
    for word in places:
        if word == "--out":
            next(places, None)
        elif word != "--overwrite" and not word.startswith("--out="):
            kept.append(word)
    following = str(out.with_name(_next(out.name))) if out.name else "OUT_2"
    return Rerun(shlex.join(["dmlp-purify", *kept, "--apply", decisions, "--out", following]), decisions)


def _next(name: str) -> str:
    """'round1' to 'round2', 'OUT' to 'OUT_2'."""
    found = re.fullmatch(r"(.*?)(\d{1,4})", name)
    return f"{name}_2" if found is None else f"{found[1]}{int(found[2]) + 1}"
