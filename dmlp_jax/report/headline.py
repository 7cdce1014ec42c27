"""Writes the headline of the report: what held-out clean rows say about the purified labels."""

from typing import Any

from dmlp_jax.report import accuracies
from dmlp_jax.report.accuracies import percent
from dmlp_jax.report.findings import best_probe, in_words, source

# A difference counts as significant beyond so many standard errors.
_CERTAIN = 2.0
_ERROR = "± is one standard error."
# Verdicts that need no numbers.
_SENTENCES = {
    "none at random": (
        "How good the purified labels are was not counted: none of the reviewed rows was drawn at random."
    ),
    "drawn": (
        "Nothing here shows how good the purified labels are: the clean rows were drawn from the noisy "
        "rows and hold some of their mistakes."
    ),
}


def trust(result: dict[str, Any]) -> str:
    """The headline: what held-out clean rows say about the purified labels.

    A gain is claimed where it was counted on reviewed rows and is beyond chance, see `accuracies.gain`.

    Args:
        result: the contents of summary.json.
    """
    found = verdict(result)
    if found == "first look":
        return _first_look(result)
    if found in _SENTENCES:
        return _SENTENCES[found]
    if found == "annotators":
        return (
            "How good the consensus labels are was not counted: that takes reviewed rows of every class "
            "whose labels by the annotators are known. Annotators and features alone expect "
            f"{percent(result['scores']['purified']['estimated_accuracy'])} of them to be right."
        )
    if found == "none held out":
        return (
            f"The {result['preset']} preset holds no clean rows out, so its labels cannot be compared with "
            "those of the trivial baselines on such rows."
        )
    if found in ("given kept", "probe took over"):
        return _replaced(result, result["source"])
    if found == "unchanged":
        return _unchanged(result)
    if found == "expected":
        name, _ = best_probe(result["held_out"])
        return (
            f"{percent(result['held_out']['purified'])} of the purified labels are expected to be right. "
            "This is an assumption, not a count: the labels that the clean rows had before review are "
            "unknown, so the purifier's own estimate of the noise takes their place. The best trivial "
            f"baseline ({in_words(name)}) was counted: its accuracy is {accuracies.claim(result, name)}. "
            f"{_ERROR}{_single_rows(result)}"
        )
    return _counted(result)


def verdict(result: dict[str, Any]) -> str:
    """What held-out clean rows say about the purified labels, as a key.

    Returns:
        'given kept' or 'probe took over' where other labels replaced the purified ones; 'none at random',
        'none held out' or 'annotators' where nothing was counted; 'first look' of a run without clean rows;
        'unchanged', 'drawn', 'expected'; else 'better', 'worse', 'better than a probe', 'worse than a probe'
        or 'unclear'.
    """
    if result.get("first_look"):
        return "first look"
    replaced = source(result)
    uncounted = accuracies.value(result, "purified") is None
    if uncounted and replaced != "given":
        if "annotators" in result:
            return "annotators"
        return "none at random" if result.get("counted", {}).get("random_rows", 1) == 0 else "none held out"
    if replaced is not None:
        return "given kept" if replaced == "given" else "probe took over"
    if accuracies.is_next_to_unchanged(result):
        return "unchanged"
    if result.get("drawn") is not None:
        return "drawn"
    if accuracies.is_expected(result, "purified"):
        return "expected"
    name, _ = best_probe(result["held_out"])
    against = name if accuracies.value(result, "given") is None else "given"
    gain, error = accuracies.gain(result, "purified", against)
    if abs(gain) <= _CERTAIN * error:
        return "unclear"
    return ("better" if gain > 0 else "worse") + ("" if against == "given" else " than a probe")


def _first_look(result: dict[str, Any]) -> str:
    """What a run without clean rows says: which labels to look at, and nothing about how many are wrong."""
    count = result["rows"]["train"]
    return (
        f"All {count:,} labels were kept, because not every class has a row that is known to be right. The "
        f"rows are sorted by how little the other rows support their label; for {result['suspicious']:,} of "
        "them another class has more support. How many labels are wrong is not known before some rows are "
        "reviewed."
    )


def _replaced(result: dict[str, Any], name: str) -> str:
    if accuracies.value(result, "purified") is None:
        return (
            "The given labels were kept: on held-out clean rows the features tell the classes no better than "
            "chance."
        )
    own = accuracies.claim(result, "purified")
    if name == "given":
        return (
            "Purification did not beat the given labels, so these were kept: their accuracy is "
            f"{own}. {_ERROR}"
        )
    return (
        "Purification did not beat the trivial baselines: the labels here are those of the "
        f"{in_words(name)}, and their accuracy is {own}. {_ERROR}"
    )


def _unchanged(result: dict[str, Any]) -> str:
    count = accuracies.changed_rows(result)
    text = "No label was changed"
    if count:
        text = f"Next to no label was changed ({count:,} of {result['rows']['train']:,})"
    if accuracies.value(result, "given") is not None:
        known = f"The accuracy of the given labels is {accuracies.claim(result, 'given')}. {_ERROR}"
    elif result.get("drawn") is not None:
        known = (
            "How many given labels are right is not known: the clean rows were drawn from the noisy rows, "
            "and nobody reviewed them."
        )
    else:
        known = (
            "How many given labels are right is not known: that takes the labels that the clean rows had "
            "before review."
        )
    return f"{text}. {known} The most suspicious labels are listed all the same."


def _counted(result: dict[str, Any]) -> str:
    """The comparison with given labels, where these are known, and with the best trivial baseline."""
    name, _ = best_probe(result["held_out"])
    own = f"an accuracy of {accuracies.claim(result, 'purified')}, "
    baseline = f"the best trivial baseline ({in_words(name)}, {accuracies.cell(result, name)})"
    if accuracies.value(result, "given") is None:
        text = _compared(result, name, f"beats {baseline}", baseline, own)
    else:
        given = f"the given labels ({accuracies.cell(result, 'given')})"
        text = _compared(result, "given", f"improves {given}", given, own)
        text += " " + _compared(result, name, f"beats {baseline}", baseline)
    return f"{text} {_ERROR}{_single_rows(result)}"


def _compared(result: dict[str, Any], name: str, better: str, others: str, own: str = "") -> str:
    """A sentence on how purification compares with other labels.

    Args:
        result: the contents of summary.json.
        name: source of the others.
        better: what purification does if it is better beyond chance.
        others: these labels in words.
        own: the accuracy of the purified labels, where it has not been said.
    """
    gain, error = accuracies.gain(result, "purified", name)
    if gain > _CERTAIN * error:
        words = f"Purification {better}"
    elif gain < -_CERTAIN * error:
        words = f"Purification is worse than {others}"
    else:
        words = f"The difference between purification and {others} is not significant"
    return f"{words}: {own}a difference of {100 * gain:+.1f} ± {100 * error:.1f} points."


def _single_rows(result: dict[str, Any]) -> str:
    single = result.get("chosen", {}).get("single_row_classes", 0)
    if not single:
        return ""
    classes = "1 class has" if single == 1 else f"{single:,} classes have"
    return f" {classes} one clean row only, which is scored by classifiers trained without that class's row."
