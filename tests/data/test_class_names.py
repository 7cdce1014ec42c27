import numpy as np
import pytest

from dmlp_jax.data.class_names import NAMED, near_equal


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat", "cat ", "dog"], ["'cat' and 'cat '", "count as 2", "only in blanks;"]),
        (["Cat", "cat", "dog"], ["'Cat' and 'cat'", "only in capitals;"]),
        (["Cat ", "cat", "CAT"], ["'Cat ', 'cat' and 'CAT'", "count as 3", "blanks and capitals"]),
        (["caf\u00e9", "cafe\u0301"], ["'caf\\xe9' and 'cafe\\u0301'", "how their letters are encoded;"]),
        (["no\u00a0good", "no good"], ["\\xa0", "encoded"]),
        (["a\u200bb", "ab"], ["count as 2"]),
        (["two  words", "two words"], ["blanks"]),
        (np.array(["STRASSE", "straße"]), ["capitals"]),
    ],
)
def test_names_that_a_person_takes_for_one(names, words):
    (text,) = near_equal(names)
    for word in words:
        assert word in text


def test_names_that_differ_are_left_alone():
    assert near_equal(["cat", "cats", "c at", "dog", "1", "01"]) == []
    assert near_equal([1, 1.0, True, None]) == []
    assert len(near_equal([f"{letter}{end}" for letter in "abcdefghij" for end in ("", " ")])) == NAMED
