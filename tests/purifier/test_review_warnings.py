"""Sentences about the review of the clean rows: what can be counted, and what was not said."""

import numpy as np
import pytest

from dmlp_jax import PurifyConfig, purify
from dmlp_jax.purifier import warnings
from tests.conftest import SHORT, make_blobs

FEATURES, GIVEN, VAL, _ = make_blobs(0)
ASSUMED, UNCOUNTED, OTHER_NOISE = "is an assumption", "no accuracy is counted", "By the purifier's estimate"


def before_review(seed=0):
    """What the source of `make_blobs`, half of it chance, may have given to the clean rows."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(30) < 0.5, rng.integers(3, size=30), VAL[1])


@pytest.mark.parametrize(
    ("estimated", "counted", "error", "told"),
    [
        (0.30, 0.10, 0.06, True),
        (0.10, 0.30, 0.06, True),
        (0.30, 0.10, 0.07, False),
        # Within two points nothing is told, however many rows were reviewed.
        (0.115, 0.10, 0.001, False),
        (0.125, 0.10, 0.001, True),
        # No row with a known given label was drawn at random.
        (0.30, 2.0, -1.0, False),
    ],
)
def test_noise_far_from_that_of_reviewed_rows_is_told(estimated, counted, error, told):
    numbers = {"noise_estimated": estimated, "noise_counted": counted, "noise_counted_error": error}
    found = warnings.sentences({name: np.float32(value) for name, value in numbers.items()})
    assert len(found) == told
    if told:
        assert f"{100 * estimated:.1f} % of the given labels" in found[0]
        assert f"{100 * counted:.1f} % ± {100 * error:.1f} % were" in found[0]
        assert "val_random" in found[0]


def test_rows_that_were_all_picked_count_nothing():
    assert warnings.sentences({"random_rows": 1}) == ()
    (found,) = warnings.sentences({"random_rows": 0})
    assert UNCOUNTED in found


def test_what_was_not_said_comes_last():
    assert warnings.sentences({"given_known": 1}) == ()
    found = warnings.sentences({"given_known": 0, "clean_class_rows": np.array([1, 9])})
    assert [ASSUMED in text for text in found] == [False, True]
    assert "val_given_labels" in found[1]


def test_results_bring_the_numbers():
    unknown = purify(FEATURES, GIVEN, VAL, config=SHORT)
    assert [ASSUMED in text for text in unknown.warnings] == [True]
    picked = purify(FEATURES, GIVEN, VAL, config=SHORT, val_random=np.zeros(30, bool))
    assert [UNCOUNTED in text for text in picked.warnings] == [True, False]
    given = before_review()
    known = purify(FEATURES, GIVEN, VAL, config=SHORT, val_given_labels=given)
    assert known.warnings == ()
    numbers = known.diagnostics
    assert int(numbers["given_known"]) == int(numbers["random_rows"]) == 30
    assert float(numbers["noise_counted"]) == pytest.approx(np.mean(given != VAL[1]))
    assert float(numbers["noise_estimated"]) == pytest.approx(1 - float(known.label_quality.mean()), abs=1e-5)
    # Labels after review in place of those before it: the source seems to make no mistake.
    corrected = purify(FEATURES, GIVEN, VAL, config=SHORT, val_given_labels=VAL[1])
    assert [OTHER_NOISE in text for text in corrected.warnings] == [True]
    assert "0.0 % ±" in corrected.warnings[0]


def test_rows_are_counted_apart():
    given, random = before_review(), np.arange(30) < 20
    given[15:] = -1
    numbers = purify(
        FEATURES, GIVEN, VAL, config=SHORT, val_given_labels=given, val_random=random
    ).diagnostics
    counts = [int(numbers[name]) for name in ("given_known", "random_rows", "given_random_rows")]
    assert counts == [15, 20, 15]


def test_the_paper_preset_has_no_use_for_given_labels():
    found = purify(FEATURES, GIVEN, VAL, config=PurifyConfig.paper(steps=2))
    assert found.warnings == ()
    assert "given_known" not in found.diagnostics
