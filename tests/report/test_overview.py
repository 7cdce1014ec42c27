"""The three figures of the first screen."""

import numpy as np
import pytest

from dmlp_jax.report import headline, overview
from tests.report.test_headline import expected, held_out, partly_known, unchanged
from tests.report.test_page import make_result


def uncounted(**changes):
    return make_result(held_out=dict.fromkeys(make_result()["held_out"]), **changes)


RESULTS = {
    "better": held_out(0.9, 0.8, 1000),
    "worse": held_out(0.1, 0.8, 1000),
    "unclear": held_out(0.32, 0.2, 30),
    "better than a probe": partly_known(0.9, 0.8, 1000),
    "worse than a probe": partly_known(0.7, 0.8, 1000),
    "expected": expected(0.9, 0.8, 1000),
    "unchanged": unchanged(held_out(0.9, 0.8, 1000)),
    "first look": uncounted(first_look=True, suspicious=3),
    "drawn": expected(0.9, 0.8, 1000) | {"drawn": {"noise_rate": 0.4}},
    "given kept": held_out(0.9, 0.8, 1000) | {"source": "given"},
    "probe took over": held_out(0.9, 0.8, 1000) | {"source": "noisy_probe"},
    "none at random": uncounted(counted={"random_rows": 0}),
    "none held out": uncounted(preset="paper"),
}


@pytest.mark.parametrize("verdict", RESULTS)
def test_every_verdict_is_said_in_five_words(verdict):
    assert headline.verdict(RESULTS[verdict]) == verdict
    suspicious, wrong, check = overview.facts(RESULTS[verdict])
    assert len(check.value.split()) == 5
    assert all(fact.note for fact in (suspicious, wrong, check))


def test_numbers_are_those_of_the_result():
    suspicious, wrong, check = overview.facts(RESULTS["better"])
    assert (suspicious.value, suspicious.note) == ("500", "of 1,000 rows, or 50 %")
    assert wrong.value == "70 %"
    # Wilson's interval, written out.
    share, count, z = 0.7, 1000, 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    assert wrong.note.startswith(f"between {100 * (middle - half):.0f} % and {100 * (middle + half):.0f} % ")
    assert (
        check.note == "90 % of the corrected labels are right, 30 % of the given ones, on 1,000 reviewed rows"
    )


def test_an_estimate_is_called_one():
    result = RESULTS["expected"] | {"noise": {"measured_flip_rate": None, "estimated_flip_rate": 0.216}}
    _, wrong, check = overview.facts(result)
    assert wrong.value == "about 22 %"
    assert "without an interval" in wrong.note
    assert "probably right, by the purifier's own estimate" in check.note
    _, wrong, _ = overview.facts(result | {"noise": {"measured_flip_rate": None}})
    assert wrong.value == "unknown"
    _, wrong, _ = overview.facts(result | {"noise": {"measured_flip_rate": 0.004}})
    assert wrong.value == "0.4 %"


def test_rows_drawn_as_clean_count_nothing():
    result = RESULTS["drawn"] | {"noise": {"measured_flip_rate": None, "estimated_flip_rate": 0.4}}
    result["held_out"] = result["held_out"] | {"given": 0.95}
    assert overview.wrong(result).value == "about 40 %"
