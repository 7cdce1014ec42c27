"""Says an accuracy on held-out clean rows with what it is: counted with its standard error, or expected."""

import math
from typing import Any

from dmlp_jax.report import intervals

NOT_COUNTED = "not counted"
# Fewer changed labels than this, or a smaller share of all labels, are next to none.
FEW_CHANGES, SMALL_SHARE = 3, 0.001


def value(result: dict[str, Any], name: str) -> float | None:
    """The accuracy of a source of labels on held-out clean rows; None where it is not known.

    Args:
        result: the contents of summary.json.
        name: source of labels.
    """
    return result["held_out"].get(name)


def is_expected(result: dict[str, Any], name: str) -> bool:
    """Whether that accuracy is a model's expectation, not a count.

    A purified label depends on the given one. Where that is unknown for the clean rows, the accuracy is an
    expectation over labels that the estimated noise would give.
    """
    replaced = result.get("source", "purified") != "purified"
    return name == "purified" and not replaced and value(result, "given") is None and not _known(result)


def rows(result: dict[str, Any], name: str) -> int:
    """The number of clean rows that an accuracy is counted on."""
    counted = result.get("counted", {})
    at_random = counted.get("random_rows", result["rows"]["val"])
    given = name == "given" or (name == "purified" and result.get("source") == "given")
    return counted.get("given_random_rows", at_random) if given else at_random


def standard_error(result: dict[str, Any], name: str) -> float:
    """The standard error of an accuracy that is known."""
    stored = result.get("scores", {}).get(name, {}).get("standard_error")
    share = value(result, name)
    assert share is not None
    return intervals.standard_error(share, rows(result, name)) if stored is None else stored


def cell(result: dict[str, Any], name: str) -> str:
    """An accuracy for a table: '84.0 % ± 2.6 %', '84.0 % expected', 'not counted', '-' of other sources."""
    if name not in result["held_out"]:
        return "-"
    share = value(result, name)
    if share is None:
        return NOT_COUNTED
    if is_expected(result, name):
        return f"{percent(share)} expected"
    return f"{percent(share)} ± {percent(standard_error(result, name))}"


def claim(result: dict[str, Any], name: str) -> str:
    """An accuracy that was counted, for a sentence: '84.0 % ± 2.6 % on 200 reviewed rows'."""
    return f"{cell(result, name)} on {rows(result, name):,} {kind_of_rows(result)}"


def kind_of_rows(result: dict[str, Any]) -> str:
    """What the clean rows are."""
    return "reviewed rows" if result.get("drawn") is None else "rows that were drawn as clean"


def gain(result: dict[str, Any], name: str, other: str) -> tuple[float, float]:
    """The difference of two known accuracies and its standard error.

    The standard error treats the two as independent. They come from the same rows and are positively
    correlated, so it is too large rather than too small; a paired test is not possible, since the result has
    no predictions row by row.
    """
    own, theirs = value(result, name), value(result, other)
    assert own is not None
    assert theirs is not None
    return own - theirs, math.hypot(standard_error(result, name), standard_error(result, other))


def changed_rows(result: dict[str, Any]) -> int:
    """How many labels changed."""
    return round(result["changed"] * result["rows"]["train"])


def is_next_to_unchanged(result: dict[str, Any]) -> bool:
    """Whether so few labels changed that the purified labels are practically the given ones."""
    return changed_rows(result) < FEW_CHANGES or result["changed"] < SMALL_SHARE


def percent(share: float) -> str:
    """A share such as '84.0 %'."""
    return f"{100 * share:.1f} %"


def _known(result: dict[str, Any]) -> bool:
    """Whether given labels of clean rows are known, though none of them may be counted."""
    return bool(result.get("counted", {}).get("given_known"))
