"""The cases of benchmarks/bad_input.py: a typed error with its remedy, or labels that are distributions."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import bad_input
finally:
    sys.path.remove(str(BENCHMARKS))

CASES = bad_input.make_cases()
FAILING = [case for case in CASES if case.fails]
WORKING = [case for case in CASES if not case.fails]


def check(case):
    failed, text = bad_input.outcome(case)
    assert failed == case.fails, text
    for word in case.words:
        assert word in text
    assert "Traceback" not in text


def test_there_are_as_many_as_were_tried_on_cleanlab():
    assert len(CASES) == 29
    assert len({case.name for case in CASES}) == 29


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_errors_say_which_what_where(case):
    check(case)


# Programs of several shapes are compiled.
@pytest.mark.slow
@pytest.mark.parametrize("case", WORKING, ids=lambda case: case.name)
def test_the_rest_gives_labels(case):
    check(case)
