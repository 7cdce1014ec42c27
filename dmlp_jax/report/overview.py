"""Says the result in three figures, for the first screen of the report."""

from typing import Any, NamedTuple

from dmlp_jax.report import accuracies, findings, headline, intervals

# What the reviewed rows say, in five words each, by `headline.verdict`.
_CHECKS = {
    "better": "The corrections make labels better",
    "better than a probe": "Better than a simple classifier",
    "unclear": "No clear difference so far",
    "worse": "The corrections make labels worse",
    "worse than a probe": "A simple classifier does better",
    "given kept": "Your given labels were kept",
    "probe took over": "A simple classifier took over",
    "first look": "No label was changed yet",
    "unchanged": "Next to nothing was changed",
    "drawn": "Nobody has checked this yet",
    "expected": "An estimate, not a count",
    "none at random": "No reviewed row was random",
    "none held out": "No rows were held out",
    "annotators": "Agreement of annotators, not checked",
}


class Fact(NamedTuple):
    """A figure of the first screen.

    Attributes:
        value: the figure itself, a number or a few words.
        words: what it is the number of; empty where `value` says it.
        note: where it comes from, and how sure it is.
    """

    value: str
    words: str
    note: str


def facts(result: dict[str, Any]) -> tuple[Fact, Fact, Fact]:
    """Suspicious rows, the share of wrong labels with its interval, the check on reviewed rows.

    Args:
        result: the contents of summary.json.
    """
    return suspicious(result), wrong(result), check(result)


def percent(share: float) -> str:
    """A share for a first look: '36 %', and '0.4 %' where whole percent would hide it."""
    digits = 1 if 0 < share < 0.01 or 0.99 < share < 1 else 0
    return f"{100 * share:.{digits}f} %"


def suspicious(result: dict[str, Any]) -> Fact:
    """How many labels look wrong: those that the purifier would change, `is_label_issue` of issues.csv."""
    rows = result["rows"]["train"]
    # Without clean rows no label is changed, but some other class may have more support.
    count = result["suspicious"] if result.get("first_look") else accuracies.changed_rows(result)
    return Fact(
        f"{count:,}",
        "label looks wrong" if count == 1 else "labels look wrong",
        f"of {rows:,} rows, or {percent(count / rows)}"
        + ("" if count else "; the most suspicious are listed all the same"),
    )


def wrong(result: dict[str, Any]) -> Fact:
    """The share of given labels that are wrong.

    It is counted on the reviewed rows that were drawn at random, with Wilson's 95 % interval, where their
    given labels are known. Else it is that of the true labels, or the purifier's estimate, which has no
    interval.
    """
    words = "of the given labels are wrong"
    right = accuracies.value(result, "given")
    if right is not None and result.get("drawn") is None:
        count = accuracies.rows(result, "given")
        low, high = intervals.wilson((1 - right) * count, count)
        return Fact(
            percent(1 - right),
            words,
            f"between {percent(float(low))} and {percent(float(high))} with 95 % confidence, counted on "
            f"{count:,} reviewed rows",
        )
    if result["noise"]["measured_flip_rate"] is not None:
        return Fact(percent(result["noise"]["measured_flip_rate"]), words, "counted with the true labels")
    estimate = result["noise"].get("estimated_flip_rate")
    if estimate is None:
        return Fact("unknown", "how many given labels are wrong", _REMEDY)
    return Fact(f"about {percent(estimate)}", words, f"an estimate without an interval. {_REMEDY}")


_REMEDY = "Review the rows that are drawn at random, and the next report counts it"


def check(result: dict[str, Any]) -> Fact:
    """What the check on reviewed rows says, in five words, with the numbers behind them."""
    own, given = (accuracies.value(result, name) for name in ("purified", "given"))
    verdict = headline.verdict(result)
    if verdict == "first look":
        return Fact(_CHECKS[verdict], "", "Review some rows of every class, and the next run corrects labels")
    if verdict in ("drawn", "none at random", "none held out", "annotators") or own is None:
        return Fact(_CHECKS[verdict], "", "Your decisions on rows drawn at random will tell")
    expected = accuracies.is_expected(result, "purified")
    shares = [f"{percent(own)} of the corrected labels are {'probably ' if expected else ''}right"]
    if given is not None:
        shares.append(f"{percent(given)} of the given ones")
    elif not expected:
        name, best = findings.best_probe(result["held_out"])
        shares.append(f"{percent(best)} of those of a {findings.in_words(name)}")
    rows = accuracies.rows(result, "purified")
    where = "by the purifier's own estimate" if expected else f"on {rows:,} {accuracies.kind_of_rows(result)}"
    return Fact(_CHECKS[verdict], "", f"{', '.join(shares)}, {where}")
