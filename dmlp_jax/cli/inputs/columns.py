"""Decides which columns of a table become features, by one list of rules.

In this order, for each column but labels and ids:

1. A column that an index was saved to (nameless, or 'index'), whole numbers that count the rows in any order,
   and all different whole numbers under a name such as 'id' are row numbers.
2. An empty column, dates, records and text are no features. Numbers and lists of numbers that are written as
   text are numbers, True and False are 1 and 0, and '?' is a missing number.
3. A column that is a function of the label, or tells it exactly, is a code of it.
4. A column of whole numbers that is called a label or target is another label.

All others are features. Columns that the user names are taken as they are.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dmlp_jax.cli.inputs import cells

ROW_NUMBERS = "row numbers"
OTHER_LABEL = "another label"
TELLS_LABEL = "tells the label"
# Rows beyond one for each class or value from which agreement with the labels is no chance.
EVIDENCE = 10
# Rows that are looked at first, because hardly any column needs all of them.
_SAMPLE = 2000
_NAMELESS = re.compile(
    r"(unnamed: \d+(_level_\d+)?(\.\d+)*|__index_level_\d+__|level_\d+|index)?", re.IGNORECASE
)
_IDS = {"id", "ids", "idx", "index", "uid", "uuid", "guid", "key", "row", "rows", "rowid", "nr"}
_LABELS = {"label", "labels", "target", "targets", "truth", "groundtruth"}


def choose(
    path: Path, frame: Any, others: list[str], labels: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The columns that become features, and why each of the others does not.

    Args:
        path: the file, for messages.
        frame: the table.
        others: its columns but labels and ids.
        labels: given labels [n], or None where they are not known here.

    Returns:
        Features [n, k] by name of the column, and a reason by name of each other column.

    Raises:
        UserError: a column of numbers has cells that are none, see `cells.numbers`.
    """
    left_out = {name: reason for name in others if (reason := _no_feature(frame[name])) is not None}
    taken = {name: cells.numbers(path, frame[name]) for name in others if name not in left_out}
    if labels is not None:
        single = [name for name, values in taken.items() if values.shape[1] == 1]
        if single:
            for place in telling(np.concatenate([taken[name] for name in single], axis=1), labels):
                left_out[single[place]] = TELLS_LABEL
                del taken[single[place]]
    for name in list(taken):
        if _is_called_label(frame[name], taken[name]):
            left_out[name] = OTHER_LABEL
            del taken[name]
    return taken, left_out


def described(taken: tuple[str, ...], left_out: Mapping[str, str]) -> str:
    """What is used and what is not, in one line."""
    names = [repr(str(name)) for name in taken]
    shown = ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ..., {names[-1]}"
    line = f"features: {len(names)} column{'s' * (len(names) > 1)} ({shown})"
    if not left_out:
        return line
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(repr(str(name)))
    parts = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return f"{line}; not used as features: {', '.join(parts)}; --feature-columns chooses others"


def telling(features: Any, labels: np.ndarray) -> np.ndarray:
    """Numbers of the columns that are a function of the labels, or of whole numbers that tell them.

    Args:
        features: [n, d]; a memory map is read in part only.
        labels: labels of any kind [n].
    """
    if len(labels) != len(features) or len(labels) <= EVIDENCE:
        return np.zeros(0, int)
    # By what they are written as: a label may be a list of one.
    codes = np.unique(np.array([str(label) for label in labels]), return_inverse=True)[1]
    some = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), _SAMPLE)).astype(int))
    found = np.flatnonzero(_telling(np.asarray(features[some]), codes[some]))
    if not found.size or len(some) == len(codes):
        return found
    return found[_telling(np.asarray(features[:, found]), codes)]


def _telling(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Whether each column of [n, k] is a function of the codes [n], or whole numbers that tell them."""
    found = _constant_within(values, codes)
    whole = np.flatnonzero(~found & (values == np.floor(values)).all(axis=0))
    for place in whole:
        groups = np.unique(values[:, place], return_inverse=True)[1]
        found[place] = len(codes) > 5 * (groups.max() + 1) and bool(
            _constant_within(codes[:, None], groups)[0]
        )
    return found


def _constant_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether each column of [n, k] has one value in every group [n] of two rows or more, and two in all."""
    kept = np.bincount(groups)[groups] > 1
    order = np.argsort(groups[kept], kind="stable")
    values, groups = values[kept][order], groups[kept][order]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    if len(starts) < 2 or len(groups) - len(starts) < EVIDENCE:
        return np.zeros(values.shape[1], bool)
    least, most = (operation.reduceat(values, starts, axis=0) for operation in (np.minimum, np.maximum))
    return (least == most).all(axis=0) & (least != least[:1]).any(axis=0)


def _no_feature(column: Any) -> str | None:
    """Why a column is no feature by itself, without the labels; None if it may be one."""
    name, kind = str(column.name).strip(), cells.kind(column)
    if _NAMELESS.fullmatch(name) and (kind in ("text", "empty", "dates") or _is_whole(column, kind)):
        return ROW_NUMBERS if kind != "empty" else "empty"
    if kind not in ("numbers", "lists"):
        return kind
    if not _is_whole(column, kind):
        return None
    values = column.to_numpy(np.float64)
    if len(np.unique(values)) == len(values) > 2 and (_counts_rows(values) or _words(name) & _IDS):
        return ROW_NUMBERS
    return None


def _is_called_label(column: Any, values: np.ndarray) -> bool:
    """Whether a column of [n, k] is whole numbers, most of them many times, under the name of a label."""
    name = str(column.name).strip()
    if not (_words(name) & _LABELS or name in ("y", "gt")) or values.shape[1] > 1:
        return False
    return bool((values == np.floor(values)).all() and 5 * len(np.unique(values)) <= len(values))


def _words(name: str) -> set[str]:
    """The words of a column's name in lower case, parted by capitals, digits and other characters."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))


def _is_whole(column: Any, kind: str) -> bool:
    """Whether a column holds whole numbers, none missing; truth values are not counted as such."""
    if kind != "numbers" or column.dtype.kind not in "iuf" or column.isna().any():
        return False
    values = column.to_numpy(np.float64)
    return bool((values == np.floor(values)).all())


def _counts_rows(values: np.ndarray) -> bool:
    """Whether different whole numbers [n] are 0 to n - 1 or 1 to n, in any order."""
    return bool(values.min() in (0, 1) and values.max() - values.min() == len(values) - 1)
