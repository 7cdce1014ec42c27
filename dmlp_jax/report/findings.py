"""Writes sentences of the report: changes, calibration, the clean rows."""

from typing import Any

from dmlp_jax.report import accuracies, intervals, names
from dmlp_jax.report.accuracies import percent

# Annotators that a sentence names, the best and the worst half.
MOST_ANNOTATORS = 10


def changes(result: dict[str, Any]) -> str:
    """How many labels changed, and the label accuracy before and after where the true labels are known."""
    if result.get("first_look"):
        return "Beside each given label stands the class that the other rows speak for. It was not applied."
    changed = f"The purifier changed {percent(result['changed'])} of the {result['rows']['train']:,} labels."
    values = result["labels"]
    own = values["purified"]
    if own is None:
        return f"{changed} The true labels are unknown, so the table compares labels on held-out clean rows."
    text = (
        f"{changed} By the true labels {percent(own)} are right now, {percent(values['given'])} were before"
    )
    if accuracies.is_next_to_unchanged(result):
        return f"{text}."
    name, best = best_probe(values)
    compared = "more than" if own > best else "as much as" if own == best else "less than"
    return f"{text}; that is {compared} with the best trivial baseline ({in_words(name)}, {percent(best)})."


def calibration(result: dict[str, Any]) -> str | None:
    """The mean confidence beside the accuracy on held-out clean rows; None where either is unknown."""
    own = accuracies.value(result, "purified")
    confidence = result.get("scores", {}).get("purified", {}).get("estimated_accuracy")
    if own is None or confidence is None:
        return None
    text = f"The mean confidence of the purified labels is {percent(confidence)};"
    if accuracies.is_expected(result, "purified"):
        return (
            f"{text} on held-out clean rows {percent(own)} are expected to be right, by the estimated noise."
        )
    return f"{text} the accuracy is {accuracies.claim(result, 'purified')}."


def annotators(result: dict[str, Any]) -> str | None:
    """Who labels best and worst by the model's estimate; None with one label a row."""
    quality = result.get("annotators")
    if not quality:
        return None
    ordered = sorted(quality, key=lambda name: -quality[name])
    shown = [f"{name} {percent(quality[name])}" for name in ordered]
    if len(shown) > MOST_ANNOTATORS:
        half = MOST_ANNOTATORS // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    return f"Estimated share of right labels by annotator: {', '.join(shown)}."


def beside_labels(result: dict[str, Any]) -> str | None:
    """Duplicates and outliers among the rows; None where none were found, or none were looked for."""
    found = result.get("rows_found") or {}
    # With very many rows only equal ones are looked for.
    equal_only = "outliers" in found and found["outliers"] is None
    parts = []
    if found.get("duplicates"):
        kind = "exact" if equal_only else "(near)"
        text = f"{found['duplicates']:,} rows in {found['duplicate_sets']:,} sets of {kind} duplicates"
        if found["duplicates_whose_labels_differ"]:
            text += (
                f", {found['duplicates_whose_labels_differ']:,} of them with labels that differ in the set"
            )
        parts.append(text)
    if found.get("outliers"):
        parts.append(f"{found['outliers']:,} outliers")
    said = f"Beside labels: {'; '.join(parts)}; see issues.csv." if parts else None
    if not equal_only:
        return said
    return (
        f"{said or 'No two rows have equal features.'} Only exact duplicates were looked for: near ones and "
        f"outliers are not searched among {result['rows']['train']:,} rows, because that would take too long."
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
        f"{percent(result['drawn']['noise_rate'])} of all labels were replaced at random. This model does "
        "not cover noise that depends on the class or on the features, so such wrong labels are among the "
        "clean rows too."
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
        f"{_picked(review)}"
    )
    if review["changes"]:
        share = review["right"] / review["changes"]
        lower, upper = intervals.wilson(review["right"], review["changes"])
        text += f" Of {review['changes']:,} changed labels that were reviewed {percent(share)} were "
        text += f"right (95 % interval {percent(float(lower))} to {percent(float(upper))})."
        if review["confidence"] is not None:
            text += f" Their mean confidence was {percent(review['confidence'])}."
    return text


def _picked(review: dict[str, Any]) -> str:
    """Which reviewed rows count towards accuracies."""
    random = review.get("random", 0)
    if random == review["clean"]:
        return "All of them were drawn at random, so they count towards accuracies."
    text = "Rows that were picked as suspicious teach the purifier, but do not count towards accuracies"
    return f"{text}; {random:,} were drawn at random and do." if random else f"{text}."


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
    """Which of the purifier's steps the labels come from, and what came after it.

    Args:
        result: the contents of summary.json.
        steps: number of steps.

    Returns:
        None where no step is recorded.
    """
    taken = step(result)
    if taken is None:
        return None
    refits, reviewed = (result["chosen"].get(name, 0) for name in ("refits", "reviewed_rounds"))
    start = "The labels are those" if not reviewed else "The classifier is that"
    text = f"{start} of step {taken} of {steps}."
    if refits:
        times = "once" if refits == 1 else f"{refits} times"
        text += (
            f" Then the classifier was averaged {times} with a linear discriminant analysis of the labels "
            "that it predicts, which improved the score on held-out clean rows; the curves over the steps "
            "do not include this."
        )
    if reviewed:
        text += (
            f" {reviewed} more rounds then learned from the reviewed rows what a given label is worth beside "
            "the classifier; the curves do not include these rounds."
        )
    return text


def in_words(name: str) -> str:
    """A source of labels in words."""
    return "given labels" if name == "given" else names.of_source(name)
