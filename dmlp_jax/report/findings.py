"""What came out, in sentences that claim no more than the rows tell."""

import math
from typing import Any

from dmlp_jax.report import intervals

# A difference is told from chance beyond so many standard errors.
_CERTAIN = 2.0


def trust(result: dict[str, Any]) -> str:
    """Whether purification beats the trivial baselines on held-out clean rows, with the uncertainty.

    The standard error of the difference takes the two accuracies for independent. They come from the same
    rows and mostly agree, so that it is on the large side; the result keeps no answer row by row to pair.

    Args:
        result: the contents of summary.json.
    """
    held_out, count = result["held_out"], result["rows"]["val"]
    own = held_out["purified"]
    if own is None:
        return (
            f"The {result['preset']} preset holds no clean rows out, so it cannot be told whether its labels "
            "beat the trivial baselines."
        )
    name, best = best_probe(held_out)
    replaced = source(result)
    if replaced is not None:
        kept = (
            "the given labels were kept"
            if replaced == "given"
            else f"the labels here are those of the {_words(replaced)}"
        )
        return (
            f"Purification did not beat the trivial baselines on held-out clean rows: {kept}, which did "
            f"better there ({_share(own, count)}). {_rows(count)}"
        )
    error = math.hypot(intervals.standard_error(own, count), intervals.standard_error(best, count))
    gain = own - best
    if gain > _CERTAIN * error:
        words = "Purification beats the trivial baselines on held-out clean rows"
    elif gain < -_CERTAIN * error:
        words = "Purification is worse than the best trivial baseline on held-out clean rows"
    else:
        words = (
            "Held-out clean rows do not tell whether purification beats the trivial baselines; the "
            "difference is within the noise"
        )
    return (
        f"{words}: {_share(own, count)} of them are right, against {_share(best, count)} by the best "
        f"baseline ({_words(name)}), a difference of {100 * gain:+.1f} ± {100 * error:.1f} points. "
        f"{_rows(count)}{_single_rows(result)}"
    )


def changes(result: dict[str, Any]) -> str:
    """How many labels changed, and what the true labels, where known, say of that."""
    changed = f"The purifier changed {result['changed']:.1%} of the {result['rows']['train']:,} labels."
    values = result["labels"]
    own = values["purified"]
    if own is None:
        return f"{changed} Nobody knows the true ones; the table goes by held-out clean rows."
    name, best = best_probe(values)
    compared = "more than" if own > best else "as much as" if own == best else "less than"
    return (
        f"{changed} {own:.1%} of the labels are right now, {values['given']:.1%} were before; that is "
        f"{compared} the best trivial baseline reaches ({_words(name)}, {best:.1%})."
    )


def calibration(result: dict[str, Any]) -> str | None:
    """The mean confidence beside the share of held-out clean rows that is right; None where unknown."""
    own = result["held_out"]["purified"]
    expected = result.get("scores", {}).get("purified", {}).get("estimated_accuracy")
    if own is None or expected is None:
        return None
    return (
        f"By its own confidence {expected:.1%} of the purified labels are right; of the held-out clean rows "
        f"{_share(own, result['rows']['val'])}."
    )


def drawn(result: dict[str, Any]) -> str | None:
    """What the clean rows are worth where nobody gave any; None where somebody did."""
    if result.get("drawn") is None:
        return None
    count = result["rows"]["val"]
    drawn = count - (result.get("review") or {"clean": 0})["clean"]
    those = "the clean rows" if drawn == count else f"{drawn:,} of the {count:,} clean rows"
    return (
        f"Nobody vouches for {those}: they were drawn from the others by how likely their labels are right "
        f"if {result['drawn']['noise_rate']:.1%} of all labels were replaced at random, which fits them "
        "best. That is no more than what was found: noise that depends on the class, or on the features, "
        "passes for none, and is in the clean rows too."
    )


def reviewed(result: dict[str, Any]) -> str | None:
    """What earlier reviews said, which joined the clean rows; None without."""
    review = result.get("review")
    if review is None:
        return None
    text = (
        f"{review['clean']:,} of the {result['rows']['val']:,} clean rows come from reviews "
        f"({review['accepted']:,} accepted, {review['rejected']:,} rejected, {review['corrected']:,} "
        "corrected). "
        "They were chosen for being suspicious, so held-out scores are those of harder rows than most."
    )
    if review["changes"]:
        share = review["right"] / review["changes"]
        lower, upper = intervals.wilson(review["right"], review["changes"])
        text += f" Of {review['changes']:,} changed labels that a human judged {share:.1%} were right "
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
    """The baseline whose labels were taken for the purified ones, 'given' included; None for none."""
    found = result.get("source", "purified")
    return None if found == "purified" else found


def step(result: dict[str, Any]) -> int | None:
    """The purifier's step, from 1, that the labels are from; None where a baseline's replaced them.

    Args:
        result: the contents of summary.json.
    """
    return None if source(result) else result.get("chosen", {}).get("step")


def course(result: dict[str, Any], steps: int) -> str | None:
    """Which of the purifier's steps the labels come from, and what came after it; None without such a step.

    Args:
        result: the contents of summary.json.
        steps: how many there were.
    """
    taken = step(result)
    if taken is None:
        return None
    text = f"The labels are those of step {taken} of {steps}."
    refits = result["chosen"].get("refits", 0)
    if refits:
        times = "once" if refits == 1 else f"{refits} times"
        text += (
            f" After it the classifier was averaged {times} with linear discriminant analysis of the labels "
            "that it writes, as held-out clean rows gained by it; the curves over the steps do not show that."
        )
    return text


def _single_rows(result: dict[str, Any]) -> str:
    single = result.get("chosen", {}).get("single_row_classes", 0)
    if not single:
        return ""
    classes = "1 class has" if single == 1 else f"{single:,} classes have"
    return f" {classes} one clean row only, which is judged by classifiers that saw none of its class."


def _words(name: str) -> str:
    return "given labels" if name == "given" else name.replace("_", " ")


def _share(value: float, count: int) -> str:
    return f"{value:.1%} ± {100 * intervals.standard_error(value, count):.1f}"


def _rows(count: int) -> str:
    return f"± is one standard error, from {count:,} clean rows."
