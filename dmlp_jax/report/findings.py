"""Writes the sentences of the report: comparison with baselines, changes, calibration, the clean rows."""

import math
from typing import Any

from dmlp_jax.report import intervals, names

# A difference counts as significant beyond so many standard errors.
_CERTAIN = 2.0


def trust(result: dict[str, Any]) -> str:
    """Whether purification beats the trivial baselines on held-out clean rows, with the standard error.

    The standard error of the difference treats the two accuracies as independent. They come from the same
    rows and are positively correlated, so it is too large rather than too small; a paired test is not
    possible, since the result has no predictions row by row.

    Args:
        result: the contents of summary.json.
    """
    held_out, count = result["held_out"], result["rows"]["val"]
    own = held_out["purified"]
    if own is None and source(result) == "given":
        return (
            "The given labels were kept: on held-out clean rows the features tell the classes no better than "
            "chance."
        )
    if own is None:
        return (
            f"The {result['preset']} preset holds no clean rows out, so its labels cannot be compared with "
            "those of the trivial baselines on such rows."
        )
    name, best = best_probe(held_out)
    rows = "held-out clean rows" if result.get("drawn") is None else "held-out rows that were drawn as clean"
    replaced = source(result)
    if replaced is not None:
        kept = (
            "the given labels were kept"
            if replaced == "given"
            else f"the labels here are those of the {_words(replaced)}"
        )
        return (
            f"Purification did not beat the trivial baselines on {rows}: {kept}, which were better there "
            f"({_share(own, count)} right). {_rows(count)}"
        )
    error = math.hypot(intervals.standard_error(own, count), intervals.standard_error(best, count))
    gain = own - best
    if gain > _CERTAIN * error:
        words = f"Purification beats the trivial baselines on {rows}"
    elif gain < -_CERTAIN * error:
        words = f"Purification is worse than the best trivial baseline on {rows}"
    else:
        words = (
            f"The difference between purification and the best trivial baseline is not significant on {rows}"
        )
    return (
        f"{words}: {_share(own, count)} of the labels are right, against {_share(best, count)} with the "
        f"best baseline ({_words(name)}), a difference of {100 * gain:+.1f} ± {100 * error:.1f} points. "
        f"{_rows(count)}{_single_rows(result)}"
    )


def changes(result: dict[str, Any]) -> str:
    """How many labels changed, and the label accuracy before and after where the true labels are known."""
    changed = f"The purifier changed {result['changed']:.1%} of the {result['rows']['train']:,} labels."
    values = result["labels"]
    own = values["purified"]
    if own is None:
        return f"{changed} The true labels are unknown, so the table compares labels on held-out clean rows."
    name, best = best_probe(values)
    compared = "more than" if own > best else "as much as" if own == best else "less than"
    return (
        f"{changed} By the true labels {own:.1%} are right now, {values['given']:.1%} were before; that is "
        f"{compared} with the best trivial baseline ({_words(name)}, {best:.1%})."
    )


def calibration(result: dict[str, Any]) -> str | None:
    """The mean confidence beside the accuracy on held-out clean rows; None where either is unknown."""
    own = result["held_out"]["purified"]
    expected = result.get("scores", {}).get("purified", {}).get("estimated_accuracy")
    if own is None or expected is None:
        return None
    return (
        f"The mean confidence of the purified labels is {expected:.1%}; the accuracy on held-out clean rows "
        f"is {_share(own, result['rows']['val'])}."
    )


def drawn(result: dict[str, Any]) -> str | None:
    """How the clean rows were drawn, and what this misses; None where the user gave clean rows."""
    if result.get("drawn") is None:
        return None
    count = result["rows"]["val"]
    drawn = count - (result.get("review") or {"clean": 0})["clean"]
    those = "The clean rows" if drawn == count else f"{drawn:,} of the {count:,} clean rows"
    return (
        f"{those} were not checked by anyone: they were drawn from the noisy rows, preferring rows whose "
        "labels are likely right under the noise model that fits best, in which "
        f"{result['drawn']['noise_rate']:.1%} of all labels were replaced at random. This model does not "
        "cover noise that depends on the class or on the features, so such wrong labels are among the clean "
        "rows too."
    )


def reviewed(result: dict[str, Any]) -> str | None:
    """Numbers of the reviewed rows among the clean rows; None without reviews."""
    review = result.get("review")
    if review is None:
        return None
    text = (
        f"{review['clean']:,} of the {result['rows']['val']:,} clean rows come from reviews "
        f"({review['accepted']:,} accepted, {review['rejected']:,} rejected, {review['corrected']:,} "
        "corrected). "
        "They were selected as suspicious, so the held-out scores are those of rows harder than average."
    )
    if review["changes"]:
        share = review["right"] / review["changes"]
        lower, upper = intervals.wilson(review["right"], review["changes"])
        text += f" Of {review['changes']:,} changed labels that were reviewed {share:.1%} were right "
        text += f"(95 % interval {lower:.1%} to {upper:.1%})."
        if review["confidence"] is not None:
            text += f" Their mean confidence was {review['confidence']:.1%}."
    return text


def best_probe(values: dict[str, float | None]) -> tuple[str, float]:
    """Name and accuracy of the best trivial baseline."""
    probes = {name: value for name, value in values.items() if name.endswith("probe") and value is not None}
    name = max(probes, key=probes.__getitem__)
    return name, probes[name]


def source(result: dict[str, Any]) -> str | None:
    """The baseline, or 'given', whose labels replaced the purified ones; None if they were not replaced."""
    found = result.get("source", "purified")
    return None if found == "purified" else found


def step(result: dict[str, Any]) -> int | None:
    """The purifier's step, from 1, that the labels are from; None where a baseline's labels replaced them.

    Args:
        result: the contents of summary.json.
    """
    return None if source(result) else result.get("chosen", {}).get("step")


def course(result: dict[str, Any], steps: int) -> str | None:
    """Which of the purifier's steps the labels come from, and how often it was averaged with LDA afterwards.

    Args:
        result: the contents of summary.json.
        steps: number of steps.

    Returns:
        None where no step is recorded.
    """
    taken = step(result)
    if taken is None:
        return None
    text = f"The labels are those of step {taken} of {steps}."
    refits = result["chosen"].get("refits", 0)
    if refits:
        times = "once" if refits == 1 else f"{refits} times"
        text += (
            f" Then the classifier was averaged {times} with a linear discriminant analysis of the labels "
            "that it predicts, which improved the score on held-out clean rows; the curves over the steps "
            "do not include this."
        )
    return text


def _single_rows(result: dict[str, Any]) -> str:
    single = result.get("chosen", {}).get("single_row_classes", 0)
    if not single:
        return ""
    classes = "1 class has" if single == 1 else f"{single:,} classes have"
    return f" {classes} one clean row only, which is scored by classifiers trained without that class's row."


def _words(name: str) -> str:
    return "given labels" if name == "given" else names.of_source(name)


def _share(value: float, count: int) -> str:
    return f"{value:.1%} ± {100 * intervals.standard_error(value, count):.1f}"


def _rows(count: int) -> str:
    return f"± is one standard error, from {count:,} clean rows."
