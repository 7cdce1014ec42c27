"""Brings the decisions of several files or reviewers together, and finds the rows on which they differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmlp_jax.report.decisions import Decisions


class Opinion(NamedTuple):
    """One decision on one row.

    Attributes:
        label: decided class index.
        file: which of the files it is from.
        place: which of that file's decisions it is.
    """

    label: int
    file: int
    place: int


class Agreed(NamedTuple):
    """The rows on which all decisions agree, or a later one has settled the matter; arrays [k].

    Attributes:
        rows: positions among the noisy rows, each once.
        labels, given, predicted, kinds, confidence, random: as in `Decisions`; a row that one of the files
            has as drawn at random was.
        conflicts: the differing opinions on each other row, by its position.
    """

    rows: np.ndarray
    labels: np.ndarray
    given: np.ndarray
    predicted: np.ndarray
    kinds: np.ndarray
    confidence: np.ndarray
    random: np.ndarray
    conflicts: dict[int, list[Opinion]]


def merge(read: Sequence[Decisions]) -> Agreed:
    """Takes the decisions of files [f] together, oldest first.

    Decisions that agree on a row's label are one decision, the first. Where they differ, none of them counts,
    unless a decision is marked to settle the conflict: then the last one so marked.
    """
    opinions: dict[int, list[Opinion]] = {}
    for file, found in enumerate(read):
        for place, (row, label) in enumerate(zip(found.rows, found.labels, strict=True)):
            opinions.setdefault(int(row), []).append(Opinion(int(label), file, place))
    taken: dict[int, Opinion] = {}
    conflicts = {}
    for row, every in opinions.items():
        settling = [one for one in every if read[one.file].settles[one.place]]
        if settling or len({one.label for one in every}) == 1:
            taken[row] = settling[-1] if settling else every[0]
        else:
            conflicts[row] = every

    def values(name: str, kind: type) -> np.ndarray:
        return np.array([getattr(read[one.file], name)[one.place] for one in taken.values()], kind)

    random = [any(read[one.file].random[one.place] for one in opinions[row]) for row in taken]
    return Agreed(
        rows=np.array(list(taken), np.int64),
        labels=values("labels", np.int32),
        given=values("given", np.int32),
        predicted=values("predicted", np.int32),
        kinds=values("kinds", np.str_),
        confidence=values("confidence", np.float64),
        random=np.array(random, bool),
        conflicts=conflicts,
    )


def in_words(
    opinions: Sequence[Opinion], read: Sequence[Decisions], paths: Sequence[Path], class_names: Sequence[str]
) -> str:
    """The differing opinions on a row, such as "'cat' (a.csv, line 3), 'dog' (b.csv, line 8)"."""
    return ", ".join(
        f"{class_names[one.label]!r} ({paths[one.file]}, line {read[one.file].lines[one.place]})"
        for one in opinions
    )
