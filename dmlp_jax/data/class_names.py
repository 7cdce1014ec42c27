"""Finds classes whose names are nearly equal: 'cat', 'cat ', 'Cat', and one word in two Unicode spellings."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# Most groups of classes that are named.
NAMED = 5


def near_equal(names: Sequence[Any]) -> list[str]:
    """Sentences that name classes which differ only in blanks, capitals or how Unicode writes them.

    Args:
        names: names of the classes; others than strings are passed over.

    Returns:
        A sentence for each group of such classes, at most `NAMED`.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        if isinstance(name, str):
            groups.setdefault(_bare(name).casefold(), []).append(str(name))
    return [_sentence(group) for group in groups.values() if len(set(group)) > 1][:NAMED]


def _sentence(group: list[str]) -> str:
    spelt = [unicodedata.normalize("NFKC", name) for name in group]
    bare = [_bare(name) for name in group]
    encoded = len({name.casefold() for name in group}) > len({name.casefold() for name in spelt})
    differences = []
    if encoded:
        differences.append("how their letters are encoded")
    if len({name.casefold() for name in spelt}) > 1:
        differences.append("blanks")
    if len(set(bare)) > 1:
        differences.append("capitals")
    # Two spellings of one word look the same unless their codes are shown.
    shown = [ascii(name) if encoded else repr(name) for name in group]
    return (
        f"the classes {', '.join(shown[:-1])} and {shown[-1]} count as {len(group)} but differ only in "
        f"{' and '.join(differences)}; write them alike if they are one"
    )


def _bare(name: str) -> str:
    """A name without blanks around it, with single ones inside, and without characters that are not seen."""
    text = unicodedata.normalize("NFKC", name)
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    return re.sub(r"\s+", " ", text).strip()
