"""Writes the headline of the report: what held-out clean rows say about the purified labels."""

from typing import Any

from dmlp_jax.report import accuracies
from dmlp_jax.report.accuracies import percent
from dmlp_jax.report.findings import best_probe, in_words, source

# A difference counts as significant beyond so many standard errors.
_CERTAIN = 2.0
_ERROR = "± is one standard error."


def trust(result: dict[str, Any]) -> str:
    """The headline: what held-out clean rows say about the purified labels.

    A gain is claimed where it was counted on reviewed rows and is beyond chance, see `accuracies.gain`.

    Args:
        result: the contents of summary.json.
    """
    if result.get("first_look"):
        return _first_look(result)
    replaced = source(result)
    if accuracies.value(result, "purified") is None:
        return _uncounted(result)
    if replaced is not None:
        return _replaced(result, replaced)
    if accuracies.is_next_to_unchanged(result):
        return _unchanged(result)
    if result.get("drawn") is not None:
        return (
            "Nothing here shows how good the purified labels are: the clean rows were drawn from the noisy "
            "rows and hold some of their mistakes."
        )
    name, _ = best_probe(result["held_out"])
    if accuracies.is_expected(result, "purified"):
        return (
            f"{percent(result['held_out']['purified'])} of the purified labels are expected to be right. "
            "This is an assumption, not a count: the labels that the clean rows had before review are "
            "unknown, so the purifier's own estimate of the noise takes their place. The best trivial "
            f"baseline ({in_words(name)}) was counted: its accuracy is {accuracies.claim(result, name)}. "
            f"{_ERROR}{_single_rows(result)}"
        )
    return _counted(result)


def _first_look(result: dict[str, Any]) -> str:
    """What a run without clean rows says: which labels to look at, and nothing about how many are wrong."""
    count = result["rows"]["train"]
    return (
        f"All {count:,} labels were kept, because not every class has a row that is known to be right. The "
        f"rows are sorted by how little the other rows support their label; for {result['suspicious']:,} of "
        "them another class has more support. How many labels are wrong is not known before some rows are "
        "reviewed."
    )


def _uncounted(result: dict[str, Any]) -> str:
    if source(result) == "given":
        return (
            "The given labels were kept: on held-out clean rows the features tell the classes no better than "
            "chance."
        )
    if "annotators" in result:
        return (
            "How good the consensus labels are was not counted: that takes reviewed rows of every class "
            "whose labels by the annotators are known. Annotators and features alone expect "
            f"{percent(result['scores']['purified']['estimated_accuracy'])} of them to be right."
        )
    if result.get("counted", {}).get("random_rows", 1) == 0:
        return (
            "How good the purified labels are was not counted: none of the reviewed rows was drawn at random."
        )
    return (
        f"The {result['preset']} preset holds no clean rows out, so its labels cannot be compared with those "
        "of the trivial baselines on such rows."
    )


def _replaced(result: dict[str, Any], name: str) -> str:
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
